//! Command lines that can not be meant, help, and questions that nobody can answer.

use crate::run::run_alone;

#[tokio::test]
async fn what_can_not_be_meant_ends_with_2_and_says_why_on_standard_error() {
    for (args, part) in [
        (vec!["no-such-verb"], "unrecognized subcommand"),
        (vec!["jobs"], "Usage: slotkeeper jobs"),
        (vec!["alloc"], "<JOB>"),
        (vec!["alloc", "a/b"], "a name has only letters"),
        (vec!["alloc", "j", "--slots", "0"], "0 is not in 1..=10000"),
        (vec!["alloc", "j", "--profile", "heap=1GB"], "is not an amount of memory"),
        (vec!["alloc", "j", "--constraint", "zone"], "a constraint is"),
        (vec!["alloc", "j", "--wait", "soon"], "is not a duration"),
        (vec!["alloc", "j", "--plan", "--create-job"], "cannot be used with"),
        (vec!["release", "j"], "<ALLOCATION>"),
        (vec!["release", "j", "not-a-uuid"], "an allocation is a UUID"),
        (vec!["requirements", "put", "j"], "--name"),
        (vec!["requirements", "put", "j", "--name", "w"], "--desired"),
        (vec!["requirements", "put", "j", "--file", "/nowhere.json"], "/nowhere.json"),
        (vec!["settings", "set", "colour=red"], "unknown field `colour`"),
        (vec!["members", "add", "--api-addr", "a:1"], "--peer-addr"),
        (vec!["task-managers", "list", "--state", "sad"], "a state is active"),
        (vec!["status", "--servers", "ftp://a"], "the scheme must be `http`"),
        (vec!["status", "--output", "xml"], "possible values: table, json"),
        (vec!["jobs", "list", "--timeout", "1"], "is not a duration"),
        (vec!["agent", "--id", "tm", "--label", "zone"], "a label is KEY=VALUE"),
        (vec!["agent", "--id", "tm", "--log", "a=b=c"], "the log filter"),
        (vec!["jobs", "get", ".."], "can not be part of a path"),
    ] {
        let run = run_alone(&args).await;
        run.assert_status(2).assert_out(&[]);
        assert!(run.err.contains(part), "{args:?} does not say `{part}`: {}", run.err);
    }
}

#[tokio::test]
async fn help_and_version_are_what_was_asked_for() {
    let help = run_alone(&["--help"]).await;
    help.assert_status(0).assert_err(&[]);
    for verb in [
        "agent",
        "status",
        "task-managers",
        "jobs",
        "alloc",
        "release",
        "requirements",
        "members",
        "settings",
    ] {
        assert!(help.out.contains(verb), "{verb} is missing");
    }
    assert!(help.out.contains("Exit status: 0 done, 1 refused, 2 usage, 3 unavailable"));
    run_alone(&["--version"])
        .await
        .assert_status(0)
        .assert_out(&[concat!("slotkeeper ", env!("CARGO_PKG_VERSION"))]);
}

#[tokio::test]
async fn what_destroys_something_is_not_done_when_nobody_can_be_asked() {
    for args in [
        vec!["jobs", "delete", "wordcount"],
        vec!["task-managers", "remove", "tm-1"],
        vec!["queues", "delete", "batch"],
        vec!["members", "remove", "2"],
        vec!["release", "wordcount", "--all"],
        vec!["requirements", "clear", "wordcount"],
    ] {
        let run = run_alone(&args).await;
        run.assert_status(2).assert_out(&[]);
        assert!(run.err.starts_with("error: nobody is there to answer: "), "{}", run.err);
        assert!(run.err.ends_with("hint: `--yes` answers on the command line\n"), "{}", run.err);
    }
}
