//! The page in a real browser, where there is one.

use std::process::Command;

use crate::support::Output;

/// Debian's Chromium, or none: scripts/setup installs it where it can.
fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|told| told.status.success())
    })
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn a_browser_runs_the_one_script_and_asks_nobody() {
    let Some(chromium) = chromium() else {
        eprintln!("skipped: there is no chromium; run scripts/setup");
        return;
    };
    let db = super::store();
    db.pupctl(["report", "--html", "out.html"]).success();
    let page = db.folder().join("out.html");
    let dump = |name: &str| {
        let profile = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(chromium);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("file://{}", db.folder().join(name).display()));
        Output::of(&mut command).success()
    };
    let told = dump("out.html");
    // The script has made the filter visible: the policy of the page lets it run.
    assert!(told.stdout.contains("<p class=\"filter\"><label"), "{told}");
    assert!(told.stdout.contains("<h2 id=\"leaves\">"), "the page goes on to its end");
    assert!(!told.stderr.contains("Content Security Policy"), "{told}");
    // No other script is let in, not even beside it.
    let text = std::fs::read_to_string(&page).expect("the page");
    let forged = text.replace("</body>", "<script>document.title = 'forged'</script></body>");
    std::fs::write(db.folder().join("forged.html"), forged).expect("a file");
    let told = dump("forged.html");
    assert!(told.stderr.contains("Content Security Policy"), "{told}");
    assert!(!told.stdout.contains("<title>forged"), "{told}");
}
