//! `precompute doctor`.

use clap::Args;

use crate::doctor::{Finding, examine};
use crate::script::{Console, Failure};
use crate::{Result, error};

/// Report what this build and this machine have, what is missing, and what to do about it
#[derive(Args)]
#[command(after_help = "Exit codes: 0 if everything works, else 1.")]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(self) -> Result<(), Failure> {
        let findings = examine();
        let console = Console::default();
        if self.json {
            let json = serde_json::to_string_pretty(&findings)
                .map_err(|cause| error!("no JSON can be made: {cause}"))?;
            console.line(&json);
        } else {
            show(&findings, &console);
        }
        console.check()?;
        match findings.iter().filter(|finding| finding.fault).count() {
            0 => Ok(()),
            1 => Err(error!("there is 1 fault").into()),
            faults => Err(error!("there are {faults} faults").into()),
        }
    }
}

/// Prints the findings as a table, and the remedies below it.
fn show(findings: &[Finding], console: &Console) {
    let mut section = "";
    let rows = findings.iter().map(|finding| {
        let new = finding.section != section;
        section = finding.section;
        let mark = if finding.fault { "!" } else { "" };
        [
            if new { section } else { "" }.to_owned(),
            mark.to_owned(),
            finding.what.clone(),
            finding.found.clone(),
        ]
    });
    console.columns(rows);
    let remedies: Vec<String> = findings
        .iter()
        .filter_map(|finding| {
            finding.remedy.as_ref().map(|remedy| format!("  {}: {remedy}", finding.what))
        })
        .collect();
    if !remedies.is_empty() {
        console.line("\nWhat to do:");
        console.lines(remedies);
    }
}
