//! What a person is told about reuse.

use std::fmt;

/// How much of the passes was reused since [`Reuse::begin`](super::Reuse::begin).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The number of passes.
    pub passes: usize,
    /// The blocks of all these passes.
    pub layers: usize,
    /// The blocks among them that did not run again.
    pub reused: usize,
    /// The latest pass.
    pub last: Option<LastPass>,
    /// For the latest pass in which the state after some block could not be stored: the first such
    /// block, and the reason.
    pub limit: Option<(usize, String)>,
}

/// How much of one pass was reused.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastPass {
    /// The blocks of the model.
    pub layers: usize,
    /// The first block that ran.
    pub from: usize,
    /// The first block after which no state can be stored, and the reason: a hook there and its
    /// effect.
    pub limit: Option<(usize, String)>,
}

impl Report {
    /// Adds a pass.
    pub(super) fn add(&mut self, last: LastPass) {
        self.passes += 1;
        self.layers += last.layers;
        self.reused += last.from;
        self.limit = last.limit.clone().or(self.limit.take());
        self.last = Some(last);
    }
}

impl fmt::Display for Report {
    /// `5 of 6 layers in 1 pass were not run again`, and the reason why not more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passes = if self.passes == 1 { "pass" } else { "passes" };
        write!(
            f,
            "{} of {} layers in {} {passes} were not run again",
            self.reused, self.layers, self.passes
        )?;
        match &self.limit {
            Some((0, why)) => write!(f, "; every layer runs in every pass, as {why}"),
            Some((layer, why)) => {
                write!(f, "; layer {layer} and those after it run in every pass, as {why}")
            }
            None => Ok(()),
        }
    }
}
