//! `/v1/jobs/{job_id}/requirements`: what a job wants for as long as the declaration stands.

use std::collections::BTreeMap;

use axum::extract::State;

use super::answer::Answer;
use super::extract::{JsonBody, Key, PathParameters, QueryParameters};
use super::refusal::{self, Refusal};
use super::{App, answers, requests};
use crate::api::requirements::{PutRequirements, RequirementStatus, Requirements};
use crate::api::resources::Profile;
use crate::domain::{self, Job, JobId, RefusalCount, Rejection, Reply, Requirement, Revision};
use crate::leader::Intent;

/// Declares what a job wants: all lines at once, under a version that only grows.
///
/// The counts in the answer are those of the moment at which the declaration was taken, before anything is placed for it,
/// so the same key gives the same answer for ever, and `reasons` are empty; a `GET` tells what has come of it. What is
/// pending is worked on for as long as the declaration stands. A lower version: 409 `stale_version`.
#[utoipa::path(put, path = "/v1/jobs/{job_id}/requirements", tag = "Requirements", request_body = PutRequirements,
    params(("job_id" = String, Path, description = "The job")), responses((status = 200, body = Requirements)))]
pub(super) async fn put_requirements(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(request): JsonBody<PutRequirements>,
) -> Result<Answer<Requirements>, Refusal> {
    let job_id: JobId = path.get("job_id")?;
    for (index, line) in request.requirements.iter().enumerate() {
        app.check_strategy(&format!("requirements[{index}].strategy"), line.strategy.as_ref())?;
    }
    let declaration = requests::declaration(job_id.clone(), request)?;
    let lines = declaration.requirements.clone();
    let written = app.submit(key, Intent::PutRequirements(declaration)).await?;
    let Reply::RequirementsPut { version, requirements } = &written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let requirements = taken_lines(&lines, requirements);
    let body = Requirements { job_id, version: *version, requirements };
    Ok(Answer::written(written.revision, written.replayed, body))
}

/// What a job wants and what it has of it.
#[utoipa::path(get, path = "/v1/jobs/{job_id}/requirements", tag = "Requirements",
    params(("job_id" = String, Path, description = "The job")), responses((status = 200, body = Requirements)))]
pub(super) async fn get_requirements(
    State(app): State<App>,
    path: PathParameters,
    query: QueryParameters,
) -> Result<Answer<Requirements>, Refusal> {
    query.finish()?;
    let job_id: JobId = path.get("job_id")?;
    let (revision, body) = shown(&app, &job_id)?;
    Ok(Answer::read(revision, body))
}

/// The lines of a request with the counts of the reply to it, which is remembered under the request's key; nothing here
/// may come from the state, which goes on.
fn taken_lines(lines: &[Requirement], counts: &[domain::RequirementStatus]) -> Vec<RequirementStatus> {
    let by_name: BTreeMap<_, _> = lines.iter().map(|line| (&line.name, line)).collect();
    let taken = counts.iter().filter_map(|counts| {
        let line = by_name.get(&counts.name)?;
        Some(shown_line(line, (counts.granted, counts.pending), &[]))
    });
    taken.collect()
}

fn shown(app: &App, job_id: &JobId) -> Result<(Revision, Requirements), Refusal> {
    let state = app.state();
    let unknown = || Refusal::from(&Rejection::UnknownJob(job_id.clone()));
    let job: &Job = state.jobs().get(job_id).ok_or_else(unknown)?;
    let mut reasons = app.services.leader.explain(&state, job_id);
    let lines = job.requirements.iter();
    let requirements = lines.map(|(name, line)| {
        let granted = u32::try_from(line.granted.len()).unwrap_or(u32::MAX);
        shown_line(&line.requirement, (granted, line.pending()), &reasons.remove(name).unwrap_or_default())
    });
    let requirements = requirements.collect();
    let body = Requirements { job_id: job_id.clone(), version: job.requirements_version, requirements };
    Ok((state.revision(), body))
}

fn shown_line(
    requirement: &Requirement,
    (granted, pending): (u32, u32),
    reasons: &[RefusalCount],
) -> RequirementStatus {
    RequirementStatus {
        name: requirement.name.clone(),
        profile: requirement.profile.as_ref().map(Profile::from),
        min: requirement.min,
        desired: requirement.desired,
        granted,
        pending,
        reasons: refusal::reasons(reasons),
        constraints: requirement.rules.constraints.iter().map(answers::constraint).collect(),
    }
}
