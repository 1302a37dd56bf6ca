//! Which part of a sweep a process does: from `--shard i/n`, or from what a cluster sets in the
//! environment.

use std::str::FromStr;

use crate::{Error, Result, bail, error};

/// The part `index` of `count` parts: every count-th combination from the index-th on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    /// At least 1.
    pub count: u64,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether the combination at a place belongs to it.
    pub fn has(&self, place: usize) -> bool {
        place as u64 % self.count == self.index
    }

    /// The part that the command line asks for, else the one that the environment does, else all.
    /// `count` is given where the environment has an index alone; `variable` reads the environment.
    ///
    /// # Errors
    /// Half of an index and a count, or an index that is none of the count.
    pub fn find(
        asked: Option<Self>,
        count: Option<u64>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        if let Some(asked) = asked {
            return Ok(asked);
        }
        let number = |name: &str| -> Result<Option<u64>> {
            match variable(name) {
                None => Ok(None),
                Some(text) => {
                    text.parse().map(Some).map_err(|_| error!("{name} is no number: {text:?}"))
                }
            }
        };
        let sources = [
            ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
            ("JOB_COMPLETION_INDEX", "", ""),
            ("HQ_TASK_ID", "", ""),
        ];
        for (index_name, count_name, first_name) in sources {
            let Some(index) = number(index_name)? else { continue };
            // With a count of one's own the index is that of a part, whichever tasks are started.
            let first = if count.is_none() { number(first_name)?.unwrap_or(0) } else { 0 };
            let index = index.saturating_sub(first);
            let Some(count) = count.or(number(count_name)?) else {
                return Err(error!("{index_name} says which part of the sweep this is, and nothing says of how many")
                    .help("--shards N says it; --shard 0/1 does the whole sweep here"));
            };
            return Self::of(index, count).map_err(|e| e.at(index_name));
        }
        if let Some(count) = count {
            return Err(error!(
                "--shards {count} says how many parts there are, and nothing says which one this is"
            )
            .help("--shard i/n says both"));
        }
        Ok(Self::WHOLE)
    }

    fn of(index: u64, count: u64) -> Result<Self> {
        if index >= count {
            bail!("there is no part {index} of {count}: parts count from 0");
        }
        Ok(Self { index, count })
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
        match parsed {
            Some((index, count)) => Self::of(index, count),
            None => {
                Err(error!("{text:?} is no part of a sweep").help("as in 0/4: the first of four"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(
        asked: Option<&str>,
        count: Option<u64>,
        environment: &[(&str, &str)],
    ) -> Result<Shard> {
        let variable = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Shard::find(asked.map(|text| text.parse().unwrap()), count, variable)
    }

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "3"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
        ];
        let part = |index, count| Ok(Shard { index, count });
        assert_eq!(find(None, None, &[]), part(0, 1));
        assert_eq!(find(None, None, &slurm), part(2, 4));
        assert_eq!(find(Some("1/2"), None, &slurm), part(1, 2));
        assert_eq!(find(None, Some(16), &slurm), part(3, 16));
        assert_eq!(find(None, Some(8), &[("JOB_COMPLETION_INDEX", "7")]), part(7, 8));
        assert_eq!(find(None, Some(8), &[("HQ_TASK_ID", "0")]), part(0, 8));
    }

    #[test]
    fn half_of_a_pair_is_an_error() {
        let said = |count, environment: &[(&str, &str)]| {
            find(None, count, environment).unwrap_err().message().to_owned()
        };
        assert!(said(None, &[("JOB_COMPLETION_INDEX", "7")]).contains("nothing says of how many"));
        assert!(said(None, &[("SLURM_ARRAY_TASK_ID", "7")]).contains("nothing says of how many"));
        assert!(said(Some(4), &[]).contains("nothing says which one this is"));
        assert!(said(Some(4), &[("HQ_TASK_ID", "4")]).contains("there is no part 4 of 4"));
        assert!(said(Some(4), &[("HQ_TASK_ID", "x")]).contains("HQ_TASK_ID is no number"));
        for text in ["2/2", "1", "a/b", "0/0", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_combination_is_in_one_part() {
        for place in 0..20 {
            let parts = (0..3).filter(|index| Shard { index: *index, count: 3 }.has(place));
            assert_eq!(parts.count(), 1);
        }
    }
}
