//! `slotkeeper alloc`: asks for slots, or what would be decided.

use super::allocations::{allocations_table, reasons_text};
use super::amounts::amounts;
use super::context::Context;
use super::failure::Failure;
use super::table::Table;
use super::values;
use crate::api::allocations::{AllocationMode, AllocationRequest, Preference};
use crate::api::constraints::Constraint;
use crate::api::ids::{JobId, JobMasterId, Name, StrategyName, TaskManagerId};
use crate::api::jobs::PutJob;
use crate::api::plan::{Plan, PlanDecision, PlanRequest};
use crate::api::resources::Profile;
use crate::api::units::DurationText;

/// Asks for slots of a job
#[derive(Debug, clap::Args)]
pub(super) struct Alloc {
    /// For which job
    #[arg(value_name = "JOB")]
    job: JobId,
    /// How many slots
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
    /// What each must have, for example `cpu=1,heap=1GiB,gpu=1`, or JSON [default: the default slot]
    #[arg(long, value_name = "PROFILE", value_parser = values::profile)]
    profile: Option<Profile>,
    /// Whether less than all will do
    #[arg(long, value_enum, default_value_t = Mode::AllOrNothing)]
    mode: Mode,
    /// How long to wait for slots, at most 60s
    #[arg(long, value_name = "DURATION", value_parser = DurationText::parse, default_value = "0s")]
    wait: DurationText,
    /// Speak as this job master
    #[arg(long, value_name = "ID")]
    job_master_id: Option<JobMasterId>,
    /// Put the job first, in the default queue, if it is not running
    #[arg(long, conflicts_with = "plan")]
    create_job: bool,
    /// Only show what would be decided now, and why
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    rules: Rules,
}

/// Where slots may go.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Placement")]
pub(super) struct Rules {
    /// A condition that must hold, for example `zone=a` or `zone in a,b`; may come several times
    #[arg(long = "constraint", value_name = "CONDITION", value_parser = values::constraint)]
    constraints: Vec<Constraint>,
    /// At most COUNT allocations of the job per value of the label [COUNT: 1]
    #[arg(long = "spread-by", value_name = "LABEL[:COUNT]", value_parser = values::spread)]
    spreads: Vec<Constraint>,
    /// Only on this TaskManager
    #[arg(long, value_name = "TASK_MANAGER")]
    on: Option<TaskManagerId>,
    /// These TaskManagers first
    #[arg(long, value_name = "TASK_MANAGER")]
    prefer: Vec<TaskManagerId>,
    /// Then those with the most of these labels
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::label)]
    prefer_label: Vec<(String, String)>,
    /// The placement strategy [default: the cluster's setting]
    #[arg(long, value_name = "NAME")]
    strategy: Option<StrategyName>,
}

impl Rules {
    pub(super) fn constraints(&self) -> Vec<Constraint> {
        let on = self.on.clone().map(Constraint::TaskManager);
        self.constraints.iter().chain(&self.spreads).cloned().chain(on).collect()
    }

    pub(super) fn preference(&self) -> Result<Preference, Failure> {
        let key = |text: &str| {
            Name::new(text).map_err(|error| Failure::usage(format!("`--prefer-label`: {error}")))
        };
        let labels = self.prefer_label.iter().map(|(name, value)| Ok((key(name)?, value.clone())));
        Ok(Preference { task_managers: self.prefer.clone(), labels: labels.collect::<Result<_, Failure>>()? })
    }

    pub(super) fn strategy(&self) -> Option<StrategyName> {
        self.strategy.clone()
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Mode {
    /// All slots or none
    #[value(alias = "all_or_nothing")]
    AllOrNothing,
    /// As many as there are
    #[value(alias = "best_effort")]
    BestEffort,
}

impl From<Mode> for AllocationMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::AllOrNothing => Self::AllOrNothing,
            Mode::BestEffort => Self::BestEffort,
        }
    }
}

pub(super) async fn run(alloc: &Alloc, context: &Context) -> Result<(), Failure> {
    let request = AllocationRequest {
        slots: alloc.slots,
        profile: alloc.profile.clone(),
        mode: alloc.mode.into(),
        wait: alloc.wait,
        constraints: alloc.rules.constraints(),
        prefer: alloc.rules.preference()?,
        strategy: alloc.rules.strategy(),
        job_master_id: alloc.job_master_id.clone(),
    };
    if alloc.plan {
        return plan(&alloc.job, request, context).await;
    }
    if alloc.create_job {
        create_job(alloc, context).await?;
    }
    let granted = context.client.allocate(alloc.job.as_str(), &request).await?;
    context.printer.data(&granted, |granted| allocations_table(&granted.allocations).render());
    if granted.missing > 0 {
        let reasons = reasons_text(&granted.reasons);
        context
            .printer
            .talk(&format!("{} of {} slots are missing ({reasons})", granted.missing, alloc.slots));
    }
    Ok(())
}

/// Puts the job unless it runs: a put would set its queue and priority back.
async fn create_job(alloc: &Alloc, context: &Context) -> Result<(), Failure> {
    let id = alloc.job.as_str();
    let running = match context.client.job(id).await {
        Ok(job) => job.state == crate::api::jobs::JobState::Running,
        Err(error) if error.code() == Some(crate::api::ProblemCode::UnknownJob) => false,
        Err(error) => return Err(error.into()),
    };
    if running {
        return Ok(());
    }
    // The key of the command is the allocation's; the put has one that belongs to it.
    let client = match &context.idempotency_key {
        Some(key) => context.client.with_idempotency_key(&format!("{}-job", key.get(..120).unwrap_or(key))),
        None => context.client.clone(),
    };
    client.put_job(id, &PutJob { job_master_id: alloc.job_master_id.clone(), ..PutJob::default() }).await?;
    Ok(())
}

async fn plan(job: &JobId, request: AllocationRequest, context: &Context) -> Result<(), Failure> {
    let request = PlanRequest {
        job_id: job.clone(),
        slots: request.slots,
        profile: request.profile,
        mode: request.mode,
        wait: request.wait,
        constraints: request.constraints,
        prefer: request.prefer,
        strategy: request.strategy,
        job_master_id: request.job_master_id,
    };
    let plan = context.client.plan(&request).await?;
    context.printer.data(&plan, |plan| plan_table(plan).render());
    let decision = match plan.decision {
        PlanDecision::Granted => "would be granted",
        PlanDecision::Partial => "would be granted in part",
        PlanDecision::Refused => "would be refused",
    };
    let reasons = match reasons_text(&plan.reasons) {
        reasons if reasons.is_empty() => String::new(),
        reasons => format!(": {reasons}"),
    };
    context.printer.talk(&format!("the request {decision} by `{}`{reasons}", plan.strategy));
    Ok(())
}

fn plan_table(plan: &Plan) -> Table {
    let mut table = Table::new(&["TASK MANAGER", "PROFILE"]);
    for slot in &plan.placements {
        table.row([slot.task_manager_id.to_string(), amounts(&slot.profile)]);
    }
    table
}
