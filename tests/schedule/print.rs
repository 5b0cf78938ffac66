//! The files of other schedulers, read by those.

use std::path::Path;
use std::process::Command;

use chrono::{DateTime, NaiveDateTime, Utc};
use pupctl::schedule::print::systemd::calendars;
use pupctl::schedule::{Timetable, zone};
use serde_json::Value;
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

use crate::at;
use crate::support::{Output, Pupctl};

/// Jobs with all that a format may stumble over.
const JOBS: &str = r#"
[schedule]
time_zone = "Europe/Berlin"
jitter = "45s"

[[schedule.jobs]]
name = "ensure"
command = "partitions ensure --months 6"
cron = "@daily"

[[schedule.jobs]]
name = "archive-old-months"
command = '''archive --expired --drop --max 6 --yes --to "/srv/O'Neill: 100% # \"$HOME\" {a}"'''
cron = "47 3 1-7 * mon"
time_zone = "UTC"

[[schedule.jobs]]
name = "check"
command = "partitions check --exit-code"
cron = "*/20 8-18 * jan-nov 1-5,7"
"#;

/// A folder with jobs, whose name is not a plain word either.
fn prepared(jobs: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("the shop's 100%");
    std::fs::create_dir(&inner).expect("a folder");
    std::fs::write(inner.join("pupctl.toml"), jobs).expect("pupctl.toml");
    (folder, inner)
}

fn print(folder: &Path, arguments: &[&str]) -> Output {
    Pupctl::new(folder).args(["schedule", "print", "--as"]).args(arguments).run()
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[test]
fn a_crontab() {
    let (_folder, inner) = prepared(JOBS);
    let output = print(&inner, &["crontab", "--program", "/usr/bin/pupctl"]).success();
    let text =
        output.stdout.replace(&inner.parent().expect("a folder").display().to_string(), "/srv");
    insta::assert_snapshot!(text, @r#"
    # The jobs of pupctl, made by: pupctl schedule print --as crontab
    # Where to connect to is not written here: set PUPCTL_DATABASE_URL, or use PGHOST and ~/.pgpass.
    # CRON_TZ is that of cronie. The cron of Debian does not know it: there the times are those of the
    # machine's own time zone.

    CRON_TZ=Europe/Berlin
    # ensure
    @daily cd '/srv/the shop'\''s 100'\% && /usr/bin/pupctl --quiet '--wait=5m' partitions ensure --months 6

    CRON_TZ=UTC
    # archive-old-months
    47 3 1-7 * mon cd '/srv/the shop'\''s 100'\% && /usr/bin/pupctl --quiet '--wait=5m' archive --expired --drop --max 6 --yes --to '/srv/O'\''Neill: 100'\%' # "$HOME" {a}'

    CRON_TZ=Europe/Berlin
    # check
    */20 8-18 * jan-nov 1-5,7 cd '/srv/the shop'\''s 100'\% && /usr/bin/pupctl --quiet '--wait=5m' partitions check --exit-code
    "#);
    if has("crontab") {
        std::fs::write(inner.join("tab"), &output.stdout).expect("a file");
        let checked = Command::new("crontab").args(["-n", "tab"]).current_dir(&inner).output();
        let checked = checked.expect("crontab");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    // With a column for the user.
    let output = print(&inner, &["crontab", "--user", "app"]).success();
    assert!(output.stdout.contains("@daily app cd "), "{output}");
}

/// What cron makes of a line is what was meant, with the shell of this machine.
#[test]
fn words_of_a_crontab_arrive() {
    let (_folder, inner) = prepared(JOBS);
    let told = inner.join("told");
    let program = inner.join("show");
    std::fs::write(&program, "#!/bin/sh\nfor word; do echo \"$word\"; done > told\n")
        .expect("a file");
    Command::new("chmod").arg("+x").arg(&program).status().expect("chmod");
    let program = program.to_str().expect("a path");
    let output = print(&inner, &["crontab", "--program", program]).success();
    let line = output.stdout.lines().find(|line| line.starts_with("47 3")).expect("the line");
    let command = line.strip_prefix("47 3 1-7 * mon ").expect("the time");
    // Some crons take the backslash away, others leave it to the shell.
    for command in [command.to_owned(), command.replace("\\%", "%")] {
        Command::new("/bin/sh").args(["-c", &command]).status().expect("a shell");
        let words = std::fs::read_to_string(&told).expect("words");
        assert!(words.ends_with("--to\n/srv/O'Neill: 100% # \"$HOME\" {a}\n"), "{words}");
        std::fs::remove_file(&told).expect("it is there");
    }
}

#[test]
fn units_of_systemd() {
    let (_folder, inner) = prepared(JOBS);
    let program = env!("CARGO_BIN_EXE_pupctl");
    let arguments = ["systemd", "--user", "root", "--dir", "units", "--program", program];
    let output = print(&inner, &arguments).success();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("", "6 files written to units\n")
    );
    let units = inner.join("units");
    let mut names: Vec<_> = std::fs::read_dir(&units)
        .expect("the folder")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 6);
    let read = |name: &str| std::fs::read_to_string(units.join(name)).expect("a unit");
    let service = read("pupctl-archive-old-months.service");
    assert!(service.contains(r#"--to "/srv/O'Neill: 100%% # \"$$HOME\" {a}""#), "{service}");
    assert!(service.contains("the shop's 100%%\n"), "{service}");
    let timer = read("pupctl-archive-old-months.timer");
    assert!(timer.contains("OnCalendar=*-*-1..7 3:47:00 UTC\nOnCalendar=Mon *-*-* 3:47:00 UTC\n"));
    assert!(timer.contains("RandomizedDelaySec=45\n"), "{timer}");
    if has("systemd-analyze") {
        let mut verify = Command::new("systemd-analyze");
        verify.arg("verify").args(names.iter().map(|name| units.join(name)));
        let verified = Output::of(&mut verify).success();
        assert_eq!(verified.stderr, "", "{verified}");
    }
    // Twice is once, and without the folder they are shown.
    print(&inner, &arguments).success();
    let shown = print(&inner, &["systemd", "--program", program]).success();
    assert!(shown.stdout.starts_with("# /etc/systemd/system/pupctl-ensure.service\n[Unit]\n"));
    assert_eq!(shown.stdout.matches("# /etc/systemd/system/").count(), 6);
}

/// The next times that systemd finds, from an instant on.
fn of_systemd(calendar: &str, from: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let mut command = Command::new("systemd-analyze");
    command.env("TZ", "UTC").args(["calendar", "--iterations=12", calendar]);
    command.arg(format!("--base-time={}", from.format("%F %T UTC")));
    let output = Output::of(&mut command).success();
    let time = |line: &str| {
        let (key, value) = line.trim().split_once(": ")?;
        let is_time = key == "Next elapse" || key.starts_with("Iter");
        let value = value.trim().split_once(' ')?.1.strip_suffix(" UTC")?;
        let at = NaiveDateTime::parse_from_str(value, "%F %T").ok()?;
        is_time.then(|| at.and_utc())
    };
    output.stdout.lines().filter_map(time).collect()
}

#[test]
fn calendars_of_systemd_mean_the_same() {
    if !has("systemd-analyze") {
        return;
    }
    let cases = [
        "17 3 * * *",
        "*/20 8-18 * jan-nov 1-5,7",
        "0 0 1,15 * sun",
        "47 3 1-7 * mon",
        "0 0 */2 * 1",
        "5,35 */6 29-31 * *",
        "0 12 * 2 */3",
        "@weekly",
        "0 0 29 2 *",
    ];
    for text in cases {
        for name in ["UTC", "Asia/Tokyo", "America/New_York"] {
            let expression = text.parse().expect("an expression");
            let timetable = Timetable { expression, zone: zone::parse(name).expect("a time zone") };
            let from = at("2026-04-20T10:11:12Z");
            let mut theirs: Vec<_> =
                calendars(&timetable).iter().flat_map(|one| of_systemd(one, from)).collect();
            theirs.sort_unstable();
            theirs.dedup();
            assert!(theirs.len() > 4, "{text}: {theirs:?}");
            let ours = std::iter::successors(timetable.next_after(from), |last| {
                timetable.next_after(*last)
            });
            let ours: Vec<_> = ours.take(5).collect();
            assert_eq!(ours, theirs[..5], "{text} in {name}");
        }
    }
}

#[test]
fn cron_jobs_of_kubernetes() {
    let (_folder, inner) = prepared(JOBS);
    let image = ["kubernetes", "--image", "registry.example.com/pupctl:1"];
    let refused = print(&inner, &image).failure(2);
    assert!(refused.stderr.contains("what a pod writes goes with it"), "{refused}");
    let claimed = [&image[..], &["--claim", "shop's archives", "--prefix", "shop"]].concat();
    let output = print(&inner, &claimed).success();
    let schema: Value =
        serde_json::from_str(include_str!("../data/cronjob.schema.json")).expect("JSON");
    let documents = YamlLoader::load_from_str(&output.stdout).expect("YAML");
    let documents: Vec<Value> = documents.iter().map(json).collect();
    assert_eq!(documents.len(), 3);
    for document in &documents {
        let complaints = complaints(document, &schema, "");
        assert!(complaints.is_empty(), "{complaints:?}");
    }
    let spec = &documents[1]["spec"];
    assert_eq!(documents[1]["metadata"]["name"], "shop-archive-old-months");
    let pod = &spec["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][1]["persistentVolumeClaim"]["claimName"], "shop's archives");
    let mounted = &pod["containers"][0]["volumeMounts"][1]["mountPath"];
    assert_eq!(mounted, r#"/srv/O'Neill: 100% # "$HOME" {a}"#);
    assert_eq!((&spec["schedule"], &spec["timeZone"]), (&"47 3 1-7 * 1".into(), &"UTC".into()));
    let container = &spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/pupctl:1");
    let words = container["args"].as_array().expect("words");
    assert_eq!(words.last().expect("a word"), r#"/srv/O'Neill: 100% # "$HOME" {a}"#);
    assert_eq!(words[1], "--config=/etc/pupctl/pupctl.toml");
    assert_eq!(documents[2]["spec"]["schedule"], "0,20,40 8-18 * 1-11 0-5");
    // The check finds what is wrong.
    let mut wrong = documents[0].clone();
    wrong["spec"]["schedules"] = "@daily".into();
    wrong["spec"]["jobTemplate"]["spec"]["backoffLimit"] = "three".into();
    assert_eq!(complaints(&wrong, &schema, "").len(), 2);
}

#[test]
fn days_that_kubernetes_would_read_otherwise_are_refused() {
    let (_folder, inner) = prepared(&JOBS.replace("47 3 1-7 * mon", "47 3 */2 * mon"));
    let output = print(&inner, &["kubernetes", "--claim", "x"]).failure(2);
    assert!(output.stderr.contains("`47 3 */2 * mon` has no form"), "{output}");
    print(&inner, &["systemd"]).success();
}

#[test]
fn options_of_another_scheduler_are_refused() {
    let (_folder, inner) = prepared(JOBS);
    let cases: [&[&str]; 8] = [
        &["crontab", "--claim", "x"],
        &["crontab", "--prefix", "X y"],
        &["crontab", "--image", "x"],
        &["crontab", "--dir", "x"],
        &["kubernetes", "--user", "x"],
        &["kubernetes", "--embedded"],
        &["systemd", "--program", "pupctl"],
        &["crontab", "--user", "a b\nroot"],
    ];
    for arguments in cases {
        print(&inner, arguments).failure(2);
    }
    assert!(!inner.join("x").exists());
}

#[test]
fn the_same_store_is_meant() {
    let (_folder, inner) = prepared(JOBS);
    let url = "postgres://app:secret@db/shop";
    let arguments =
        ["systemd", "--schema", "e s", "--role", "o\"w", "--wait", "90s", "--database-url", url];
    let output = print(&inner, &arguments).success();
    assert!(output.stdout.contains(r#""--schema=e s" "--role=o\"w" --wait=1m30s partitions"#));
    assert!(!output.stdout.contains("secret") && !output.stderr.contains("secret"), "{output}");
    assert!(output.stderr.contains("the address of the database is not printed"), "{output}");
    // Another file is named from the root, since the jobs run elsewhere.
    std::fs::rename(inner.join("pupctl.toml"), inner.join("other.toml")).expect("a file");
    let output = print(&inner, &["systemd", "--config", "other.toml"]).success();
    assert!(output.stdout.contains("100%%/other.toml\""), "{output}");
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) => text.clone().into(),
        Yaml::Integer(number) => (*number).into(),
        Yaml::Boolean(value) => (*value).into(),
        Yaml::Array(items) => items.iter().map(json).collect(),
        Yaml::Hash(fields) => {
            let field = |(key, value): (&Yaml, &Yaml)| {
                (key.as_str().expect("a key").to_owned(), json(value))
            };
            Value::Object(fields.iter().map(field).collect())
        }
        _ => Value::Null,
    }
}

/// What does not fit a schema, of the few words that it uses.
fn complaints(value: &Value, schema: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        other => panic!("{path}: the type {other:?}"),
    };
    if !fits {
        return vec![format!("{path}: {value} is no {}", schema["type"])];
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{path}: {value} is none of {allowed:?}"));
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().expect("a key")).is_none() {
            found.push(format!("{path}: {key} is missing"));
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{key}");
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(known), _) => found.extend(complaints(inner, known, &path)),
            (None, Value::Object(_)) => {
                found.extend(complaints(inner, &schema["additionalProperties"], &path));
            }
            (None, _) => found.push(format!("{path} is unknown")),
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        found.extend(complaints(inner, &schema["items"], path));
    }
    found
}
