//! `slotkeeper requirements put`: a declaration from flags (one line) or from JSON (any number of lines).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::show;
use crate::api::ids::{JobMasterId, RequirementName, RequirementVersion};
use crate::api::requirements::{PutRequirements, Requirement, Requirements};
use crate::api::resources::Profile;
use crate::cli::alloc::Rules;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::values;

/// Declares all that a job wants; replaces what it declared before
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("lines").required(true).args(["file", "name"])))]
pub(in crate::cli) struct Put {
    /// Whose
    #[arg(value_name = "JOB")]
    job: String,
    /// JSON with all lines: `[{"name": "workers", "min": 2, "desired": 4}]` or the body of the API; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The name of the only line
    #[arg(long, requires = "desired")]
    name: Option<RequirementName>,
    /// As many slots as it can use
    #[arg(long, value_name = "COUNT")]
    desired: Option<u32>,
    /// Below this many it gets all of them at once or none
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    min: u32,
    /// What each slot must have, for example `cpu=1,heap=1GiB` [default: the default slot]
    #[arg(long, value_name = "PROFILE", value_parser = values::profile)]
    profile: Option<Profile>,
    /// The version of the declaration [default: the one that stands, plus 1]
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    /// Speak as this job master
    #[arg(long, value_name = "ID")]
    job_master_id: Option<JobMasterId>,
    #[command(flatten)]
    rules: Rules,
}

/// What a file may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    List(Vec<Requirement>),
    Declaration { version: Option<u64>, requirements: Vec<Requirement>, job_master_id: Option<JobMasterId> },
}

pub(super) async fn run(put: &Put, context: &Context) -> Result<(), Failure> {
    let (mut version, mut job_master_id) = (put.version, put.job_master_id.clone());
    let requirements = match &put.file {
        None => vec![single_line(put)?],
        Some(file) => match read(file)? {
            Lines::List(requirements) => requirements,
            Lines::Declaration { version: in_file, requirements, job_master_id: in_file_master } => {
                version = version.or(in_file);
                job_master_id = job_master_id.or(in_file_master);
                requirements
            }
        },
    };
    let version = match version {
        Some(version) => version,
        None => {
            let stands = context.client.requirements(&put.job).await?;
            confirm_loss(context, &stands, &requirements)?;
            stands.version.0 + 1
        }
    };
    let request = PutRequirements { version: RequirementVersion(version), requirements, job_master_id };
    let declared = context.client.put_requirements(&put.job, &request).await?;
    // That answer is of the moment of declaring; a person wants to see what has come of it. It is declared either way.
    let stands = context.client.requirements(&put.job).await.unwrap_or(declared);
    show(context, &stands);
    Ok(())
}

/// A declaration is absolute; lines that it no longer has lose their slots.
fn confirm_loss(context: &Context, stands: &Requirements, next: &[Requirement]) -> Result<(), Failure> {
    let gone = stands.requirements.iter().filter(|line| next.iter().all(|kept| kept.name != line.name));
    let names: Vec<String> = gone.map(|line| format!("`{}`", line.name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    context.confirm(&format!("Drop {} from the declaration of job `{}`?", names.join(", "), stands.job_id))
}

fn single_line(put: &Put) -> Result<Requirement, Failure> {
    let (Some(name), Some(desired)) = (&put.name, put.desired) else {
        return Err(Failure::usage("`--name` and `--desired` are needed, or `--file`"));
    };
    Ok(Requirement {
        name: name.clone(),
        profile: put.profile.clone(),
        min: put.min,
        desired,
        constraints: put.rules.constraints(),
        prefer: put.rules.preference()?,
        strategy: put.rules.strategy(),
    })
}

fn read(file: &Path) -> Result<Lines, Failure> {
    let refused = |problem: String| Failure::usage(format!("`{}`: {problem}", file.display()));
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| refused(error.to_string()))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    // Read by form, so that the message names what is wrong with the form that was meant.
    if value.is_array() {
        return serde_json::from_value(value).map(Lines::List).map_err(|error| refused(error.to_string()));
    }
    serde_json::from_value(value).map_err(|_| {
        refused(
            "a declaration is a list of lines, or an object with `requirements` and perhaps `version`"
                .to_owned(),
        )
    })
}
