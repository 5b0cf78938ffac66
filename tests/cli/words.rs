//! Whole outputs, for people.

use clap::CommandFactory;
use insta::assert_snapshot;
use pupctl::command::Cli;

use super::{plain, store};
use crate::support::{Output, Pupctl, TestDatabase};

/// Both streams, as somebody at a terminal reads them.
fn all(output: &Output) -> String {
    // Tables fill their cells, which editors and reviewers would strip.
    let text = format!("{}--- stderr\n{}", output.stdout, output.stderr);
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_arguments_are_sound() {
    Cli::command().debug_assert();
}

#[test]
#[expect(clippy::too_many_lines, reason = "a snapshot of a whole page")]
fn help() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = |arguments: &[&str]| Pupctl::new(folder.path()).args(arguments).run().success();
    assert_snapshot!(all(&help(&["--help"])), @"
    Schema, migrations and partitions of PostgreSQL event stores

    pupctl makes the tables of an event store (events, aggregate_heads, projection_checkpoints),
    partitioned by context, hash or month, and keeps their partitions. Results go to standard output,
    everything else to standard error.

    Exit codes: 0 done or nothing to do; 1 failed or refused; 2 usage or configuration, or a question
    without a terminal and without --yes; 3 problems found, with --exit-code; 4 another pupctl works on
    the store; 5 locks on tables not obtained in time; 130 interrupted.

    Usage: pupctl [OPTIONS] <COMMAND>

    Commands:
      schema       Make the tables of the store by migrations, and look at them
      contexts     Add bounded contexts, and list them
      partitions   Make, list and check partitions
      convert      Give a store that is not partitioned another layout, while it is used
      archive      Take events out of the store into files, prove the files, and drop the tables if
                   wanted
      restore      Bring the events of an archive back into the store
      projections  Look at projections, and steer them
      events       Load events from files into the store, and write them to files
      operations   See what pupctl has done, go on with what was interrupted, or call it off
      report       Show the whole store on one page: partitions, growth, projections, what is wrong
      metrics      Print the state of the store as metrics for Prometheus
      schedule     Run jobs at their times, or have another scheduler run them
      embedded     Run a private PostgreSQL server in the folder .pupctl
      doctor       Look at everything that may be wrong with a store, and say what mends it
      advise       Say which layout a store should have, or that it should not be partitioned
      demo         Show what pupctl does, on a private server
      completions  Print the completions of commands and options for a shell
      man          Print a manual page, or write them all
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Global options:
          --database-url <URL>
              Where to connect: a URL or a list of key=value pairs, as libpq takes them

              Without it: PUPCTL_DATABASE_URL, DATABASE_URL, the configuration file, then the PG*
              variables, service file and password file of libpq.

          --embedded
              Use the private server in the folder .pupctl, and start it if it does not run

          --role <ROLE>
              The role to work as, after signing in (SET ROLE)

          --schema <SCHEMA>
              The schema of the store [default: the one that holds a store, else public]

          --config <FILE>
              The configuration file [default: pupctl.toml, if there is one]

      -o, --output <FORMAT>
              How results are printed on standard output

              Possible values:
              - table: For people
              - json:  For machines: one object, with a version and named lists

              [default: table]

          --dry-run
              Print the SQL that would run, with its locks, and change nothing

      -y, --yes
              Answer every question with yes

          --wait [<TIME>]
              Wait this long for another pupctl that works on the store [without a time: 60s]

          --lock-budget <TIME>
              Go on trying for locks on tables for this long [default: 30s]

      -v, --verbose...
              Say more on standard error; twice for details

      -q, --quiet
              Print nothing on success

          --log-format <FORMAT>
              How messages are written on standard error

              Possible values:
              - text: For people
              - json: One object a line, with time and level, for what collects logs

              [default: text]

          --color <WHEN>
              When to use colours

              Possible values:
              - auto:   On a terminal, unless NO_COLOR is set
              - always: Always
              - never:  Never

              [default: auto]
    --- stderr
    ");
    let partitions = help(&["partitions", "--help"]).stdout;
    let own = partitions.split("Global options:").next().expect("its own part");
    assert_snapshot!(own, @"
    Make, list and check partitions

    Usage: pupctl partitions [OPTIONS] <COMMAND>

    Commands:
      ensure   Make the partitions that the layout names and the database lacks
      list     List the partitions as a tree, with bounds, rows and sizes
      check    Look for missing months, gaps, lost keys and other problems
      explain  Show which partitions a read touches, and which locks it takes
      attach   Make a table a partition of events, with the rows that it has
      detach   Take partitions out of events, as tables of their own
      drain    Move rows out of DEFAULT partitions into the partitions where they belong
      split    Divide a partition that holds several months into months
      close    Seal past months against events that come late
      reopen   Let closed months take events again
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    ");
    let short = help(&["-h"]);
    assert!(short.stdout.len() < help(&["--help"]).stdout.len());
    assert!(!help(&["schema", "init", "--help"]).stdout.contains('`'), "markup in the help");
}

#[test]
fn version() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Pupctl::new(folder.path()).args(["--version"]).run().success();
    assert_eq!(output.stdout, format!("pupctl {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(output.stderr, "");
}

#[test]
fn no_command_and_unknown_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let pupctl = |arguments: &[&str]| Pupctl::new(folder.path()).args(arguments).run().failure(2);
    assert!(pupctl(&[]).stderr.contains("Usage: pupctl"));
    let unknown = pupctl(&["partitions", "ensures"]).stderr;
    assert!(unknown.contains("a similar subcommand exists: 'ensure'"), "{unknown}");
    assert!(pupctl(&["partitions", "ensure", "--month", "3"]).stderr.contains("'--months'"));
}

#[test]
fn schema_init_and_again() {
    let db = TestDatabase::new();
    let _plain = plain(&db);
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "1"];
    let init = || db.command(init).args(["--contexts", "Identity,Billing"]).run().success();
    assert_snapshot!(all(&init()), @"
     partition                       | kind   | holds
    ---------------------------------+--------+----------
     public.aggregate_heads_identity | leaf   | Identity
     public.aggregate_heads_billing  | leaf   | Billing
     public.events_identity          | branch | Identity
     public.events_identity_YYYY_M0  | leaf   | YYYY-M0
     public.events_identity_YYYY_M1  | leaf   | YYYY-M1
     public.events_billing           | branch | Billing
     public.events_billing_YYYY_M0   | leaf   | YYYY-M0
     public.events_billing_YYYY_M1   | leaf   | YYYY-M1
    --- stderr
    Done: the store is ready; 6 partitions of events and 2 of aggregate heads made
    ");
    assert_snapshot!(all(&init()), @"
    --- stderr
    Nothing to do: the store is as the layout says
    ");
    assert_snapshot!(all(&db.pupctl(["schema", "init"]).success()), @"
    --- stderr
    Nothing to do: the store is as the layout says
    ");
}

#[test]
fn lists() {
    let db = store();
    let _plain = plain(&db);
    assert_snapshot!(all(&db.pupctl(["partitions", "list"]).success()), @"
     partition                        | holds    | rows (est.) | table  | indexes
    ----------------------------------+----------+-------------+--------+---------
     public.events_billing            | Billing  |           - |  16 kB |  144 kB
       public.events_billing_YYYY_M0  | YYYY-M0  |           - | 8192 B |   72 kB
       public.events_billing_YYYY_M1  | YYYY-M1  |           - | 8192 B |   72 kB
     public.events_identity           | Identity |           - |  16 kB |  144 kB
       public.events_identity_YYYY_M0 | YYYY-M0  |           - | 8192 B |   72 kB
       public.events_identity_YYYY_M1 | YYYY-M1  |           - | 8192 B |   72 kB
     public.events in all             | 4 leaves |           0 |  32 kB |  288 kB
    --- stderr
    ");
    assert_snapshot!(all(&db.pupctl(["contexts", "list"]).success()), @"
     context  | divided | partition              | leaves | rows (est.) | size
    ----------+---------+------------------------+--------+-------------+--------
     Identity | month   | public.events_identity |      2 |           0 | 160 kB
     Billing  | month   | public.events_billing  |      2 |           0 | 160 kB
    --- stderr
    ");
    assert_snapshot!(all(&db.pupctl(["schema", "status"]).success()), @"
    PostgreSQL [version], database [name], schema public, role postgres
    Layout     context, then month; 1 month ahead; 2 contexts
    Tables
     table                         | state | divided by             | leaves
    -------------------------------+-------+------------------------+--------
     public.events                 | there | LIST (bounded_context) |      4
     public.aggregate_heads        | there | LIST (bounded_context) |      2
     public.projection_checkpoints | there |                        |      1
    Migrations
     set   | migration                 | applied
    -------+---------------------------+----
     own   | V1__own_tables            | [time]
     own   | V2__operation_state       | [time]
     own   | V3__archives              | [time]
     own   | V4__projections           | [time]
     own   | V5__read_models           | [time]
     own   | V6__conversions           | [time]
     store | V1__heads_and_checkpoints | [time]
     store | V2__events                | [time]
     store | V3__indexes               | [time]
     store | V4__guard                 | [time]
    Latest operations
     id | command     | started                 | outcome
    ----+-------------+-------------------------+---------
     1  | schema init | [time] | done
    --- stderr
    ");
}

#[test]
fn an_empty_database() {
    let db = TestDatabase::new();
    let _plain = plain(&db);
    assert_snapshot!(all(&db.pupctl(["schema", "status"]).success()), @"
    PostgreSQL [version], database [name], schema public, role postgres
    Tables
     table                         | state   | divided by | leaves
    -------------------------------+---------+------------+--------
     public.events                 | missing |            |      0
     public.aggregate_heads        | missing |            |      0
     public.projection_checkpoints | missing |            |      0
    Migrations
     set | migration                 | applied
    -----+---------------------------+---------
         | V1__own_tables            | pending
         | V2__operation_state       | pending
         | V3__archives              | pending
         | V4__projections           | pending
         | V5__read_models           | pending
         | V6__conversions           | pending
         | V1__heads_and_checkpoints | pending
         | V2__events                | pending
         | V3__indexes               | pending
         | V4__guard                 | pending
    --- stderr
    note: there is no store in schema public; make one: pupctl schema init --partition-by context --contexts Identity,Billing
    ");
}

#[test]
fn partitions_ensure_and_again() {
    let db = store();
    let _plain = plain(&db);
    db.execute(
        "DO $$ BEGIN EXECUTE 'DROP TABLE ' || max(relid::text)
         FROM pg_partition_tree('events_billing'); END $$",
    );
    assert_snapshot!(all(&db.pupctl(["partitions", "ensure"]).success()), @"
     partition                     | kind | holds
    -------------------------------+------+---------
     public.events_billing_YYYY_M1 | leaf | YYYY-M1
    --- stderr
    Done: 1 partition of events made
    ");
    assert_snapshot!(all(&db.pupctl(["partitions", "ensure"]).success()), @"
    --- stderr
    Nothing to do: every partition is there (4 of events)
    ");
}

#[test]
fn partitions_check() {
    let db = store();
    let _plain = plain(&db);
    assert_snapshot!(all(&db.pupctl(["partitions", "check", "--exit-code"]).success()), @"
    --- stderr
    No problem found in 4 leaves of events
    ");
    db.execute(
        "DO $$ BEGIN EXECUTE 'DROP TABLE ' || max(relid::text)
         FROM pg_partition_tree('events_billing'); END $$;
         DROP TABLE aggregate_heads_identity;
         CREATE TABLE events_rest PARTITION OF events DEFAULT;
         SET pupctl.maintenance = on;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('Nobody', 'T', 'a', 1, gen_random_uuid(), 'E', '')",
    );
    assert_snapshot!(all(&db.pupctl(["partitions", "check"]).success()), @r#"
    error [missing_partition] public.aggregate_heads
      no partition for Identity: inserts fail
      mend it: pupctl partitions ensure
    error [default_rows] public.events_rest
      the DEFAULT partition holds rows, so their own partitions cannot be made
      mend it: pupctl partitions drain
    error [missing_key] public.events_rest
      no valid key on (bounded_context, aggregate_type, aggregate_id, aggregate_version)
      mend it: ALTER TABLE "public"."events_rest"
        ADD PRIMARY KEY ("bounded_context", "aggregate_type", "aggregate_id", "aggregate_version");
    error [missing_key] public.events_rest
      no valid key on (event_id)
      mend it: ALTER TABLE "public"."events_rest"
        ADD UNIQUE ("event_id");
    error [missing_key] public.events_rest
      no valid key on (global_position)
      mend it: ALTER TABLE "public"."events_rest"
        ADD UNIQUE ("global_position");
    error [unprotected] public.events_rest
      the trigger pupctl_guard is missing: the same version may be stored in two months
      mend it: pupctl schema init
    warning [missing_month] public.events_billing
      no partition for YYYY-M1, which the layout keeps ready
      mend it: pupctl partitions ensure
    --- stderr
    7 problems found
    "#);
    db.pupctl(["partitions", "check", "--exit-code"]).failure(3);
}
