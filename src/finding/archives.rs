//! Archives: whether their files are where they were proven.

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::Catalog;
use crate::catalog::health::{Archive, ArchiveFiles, Health};
use crate::render::quote::shell_word;

use super::Finding;
use super::transactions::age;

/// Disks and copies lose bits; whoever has not looked for half a year should.
const PROVEN_WITHIN: TimeDelta = TimeDelta::days(183);

/// Archives that are missing, altered, or were not proven for long.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let mut findings: Vec<_> = health.archives.iter().filter_map(finding).collect();
    findings.extend(elsewhere(&health.archives));
    findings.extend(unproven(&health.archives, catalog.server.now));
    findings
}

fn finding(archive: &Archive) -> Option<Finding> {
    let Archive { name, path, only_copy, files } = archive;
    let lost = if *only_copy { "its events are in no other place" } else { "its table is kept" };
    let (check, message) = match files {
        ArchiveFiles::Missing => ("archive_missing", format!("{path} is not there; {lost}")),
        ArchiveFiles::Altered(how) => ("archive_altered", format!("{how}; {lost}")),
        ArchiveFiles::Elsewhere | ArchiveFiles::There(_) => return None,
    };
    let finding = if *only_copy {
        Finding::error(check, name, message)
    } else {
        Finding::warning(check, name, message)
    };
    let word = shell_word(name);
    Some(finding.remedy(format!("put a copy of it there, then: pupctl archive verify {word}")))
}

/// Another machine may have them. Where they are all that is left of events, somebody has to know.
fn elsewhere(archives: &[Archive]) -> Option<Finding> {
    let there = archives.iter().filter(|one| one.files == ArchiveFiles::Elsewhere);
    let there: Vec<_> = there.collect();
    let first = there.iter().find(|one| one.only_copy).or(there.first())?;
    let number = there.len();
    let message = format!(
        "the folder of {number} archive(s) is not on this machine, so nobody looked at them: for \
         example {}",
        first.path
    );
    let only = there.iter().filter(|one| one.only_copy).count();
    if only == 0 {
        let finding = Finding::notice("archive_elsewhere", &first.name, message);
        return Some(finding.remedy("run pupctl doctor where they are"));
    }
    let message = format!("{message}; the events of {only} are in no other place");
    Some(
        Finding::warning("archive_elsewhere", &first.name, message)
            .remedy("put the folder back where it was, or run pupctl doctor where it is"),
    )
}

fn unproven(archives: &[Archive], now: DateTime<Utc>) -> Option<Finding> {
    let times = archives.iter().filter_map(|one| match one.files {
        ArchiveFiles::There(Some(at)) if now - at > PROVEN_WITHIN => Some((at, one)),
        _ => None,
    });
    let old: Vec<_> = times.collect();
    let (at, oldest) = old.iter().min_by_key(|(at, _)| *at)?;
    let number = old.len();
    let message = format!(
        "{number} archive(s) were not read back for long, this one not for {}: whether a disk has \
         kept them nobody knows",
        age(now - *at)
    );
    Some(Finding::notice("archive_unproven", &oldest.name, message).remedy("pupctl archive verify"))
}
