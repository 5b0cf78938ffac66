//! Named points at phase boundaries, at which tests stop or kill the process.
//!
//! Off unless the crate is built with the feature `failpoints`; then `FAILPOINTS=name=return`
//! ends the process as `kill -9` would, and `FAILPOINTS=name=sleep(5000)` holds it there. The
//! grammar is that of the crate [`fail`]: `2*off->return` means the third time.
//!
//! `PUPCTL_HOLD=name 2 folder` holds it when it is there for the second time: it makes the file
//! `reached` in the folder, and goes on when somebody has made the file `go`.

/// Every point that the code names; `tests/tidy` keeps the list true, and the crash tests
/// kill pupctl at each of them.
pub const NAMES: &[&str] = &[
    "adopt::after_commit",
    "adopt::before_commit",
    "archive::after_rename",
    "archive::before_heads",
    "archive::before_rename",
    "archive::begun",
    "archive::departed",
    "archive::dropped",
    "archive::listed",
    "archive::looked",
    "archive::proven",
    "archive::published",
    "archive::replaced",
    "archive::retired",
    "archive::took_heads",
    "archive::written",
    "convert::advanced",
    "convert::before_locks",
    "convert::before_range",
    "convert::before_swap",
    "convert::built",
    "convert::caught_up",
    "convert::copied",
    "convert::copied_heads",
    "convert::dropped",
    "convert::dropped_some",
    "convert::indexed",
    "convert::joined",
    "convert::prepared",
    "convert::proven",
    "convert::swapped",
    "convert::tail_copied",
    "embedded::after_initdb",
    "embedded::after_rename",
    "embedded::after_start",
    "embedded::after_stop",
    "embedded::before_rename",
    "execute::after_step",
    "execute::before_commit",
    "execute::before_step",
    "export::before_rename",
    "export::before_window",
    "file::before_rename",
    "generate::before_file",
    "import::after_commit",
    "import::before_commit",
    "import::checked",
    "import::copied",
    "lock::taken",
    "migration::after_apply",
    "migration::before_apply",
    "migration::before_record",
    "operation::before_end",
    "operation::started",
    "projection::before_commit",
    "projection::committed",
    "projection::handled",
    "projection::sql_made",
    "projections::before_commit",
    "projections::before_file",
    "rebuild::begun",
    "rebuild::cleared",
    "rebuild::compared",
    "rebuild::folded",
    "rebuild::folded_rest",
    "rebuild::locked",
    "rebuild::made",
    "rebuild::swapped",
    "rescale::after_commit",
    "rescale::barrier",
    "rescale::before_abort",
    "rescale::before_barrier",
    "rescale::before_commit",
    "restore::attached",
    "restore::before_heads",
    "restore::before_join",
    "restore::before_loaded",
    "restore::dropped",
    "restore::joined",
    "restore::loaded",
    "restore::recalled",
    "restore::recorded",
    "restore::rehearsed",
    "restore::replaced",
    "schedule::after_job",
    "schedule::before_job",
    "schedule::saved",
    "transfer::before_commit",
    "transfer::chunk_copied",
    "transfer::completed",
    "transfer::copied",
    "transfer::exchanged",
    "transfer::proven",
    "transfer::tail_copied",
    "trial::handled",
];

/// What tests switch on with `FAILPOINTS=name=return`.
pub const SWITCHES: &[&str] = &["transfer::rows_come"];

/// Starts the points that `FAILPOINTS` names. Call once, first thing in `main`.
#[cfg(feature = "failpoints")]
pub fn setup() {
    // The scenario lives as long as the process: dropping it would clear the points.
    std::mem::forget(fail::FailScenario::setup());
    let hold = std::env::var("PUPCTL_HOLD").unwrap_or_default();
    if let [name, time, folder] = hold.splitn(3, ' ').collect::<Vec<_>>()[..] {
        let hold = Hold { left: time.parse().unwrap_or(1).into(), folder: folder.into() };
        fail::cfg_callback(name, move || hold.pass()).unwrap_or_default();
    }
}

/// A point at which the process waits for a test.
#[cfg(feature = "failpoints")]
struct Hold {
    /// How often it comes there until it waits.
    left: std::sync::atomic::AtomicUsize,
    folder: std::path::PathBuf,
}

#[cfg(feature = "failpoints")]
impl Hold {
    fn pass(&self) {
        use std::sync::atomic::Ordering::SeqCst;
        let left = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if left != Ok(1) {
            return;
        }
        // A test that does not find the file fails, and says what it has waited for.
        let _ = std::fs::write(self.folder.join("reached"), "");
        while self.folder.is_dir() && !self.folder.join("go").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Whether a test asks for one of [`SWITCHES`]. Never without the feature `failpoints`.
pub(crate) fn is_on(name: &str) -> bool {
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name, |_| true);
    false
}

/// How far the clock of tests is set apart from the machine's, in seconds: what stands in the file
/// that `PUPCTL_TEST_CLOCK` names. Nothing without the feature `failpoints`.
#[cfg(feature = "cli")]
pub(crate) fn clock_offset() -> chrono::TimeDelta {
    #[cfg(feature = "failpoints")]
    if let Some(path) = std::env::var_os("PUPCTL_TEST_CLOCK") {
        let seconds = std::fs::read_to_string(path).ok();
        let seconds = seconds.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        return chrono::TimeDelta::seconds(seconds);
    }
    chrono::TimeDelta::zero()
}

/// Marks a phase boundary. Costs nothing without the feature `failpoints`.
pub(crate) fn reach(name: &str) {
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
    // Tests that kill pupctl at each of them read from this how often they are reached.
    #[cfg(feature = "failpoints")]
    tracing::debug!("reached {name}");
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name, |_| {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is asynchronous: nothing may run between it and the end.
        loop {
            std::thread::park();
        }
    });
}
