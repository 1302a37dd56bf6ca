//! What a hook point's row of the table says, and how its name is read.

pub use super::point_table::{ModelKind, Part, Point};
use crate::{Result, did_you_mean, error};

/// One dimension of a point's shape, by the letter that the documentation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// b: rows of the batch.
    Batch,
    /// n: tokens that the pass reads.
    Tokens,
    /// m: tokens attended to: n, or more with a cache.
    Attended,
    /// e: the size of a token embedding: d, except in OPT-350m.
    Embedding,
    /// d: the size of the residual stream.
    Hidden,
    /// h: query heads.
    Heads,
    /// k: key/value heads.
    KvHeads,
    /// c: the size of a head.
    HeadSize,
    /// f: the size of the MLP's inner layer.
    FeedForward,
    /// x: the experts of a mixture.
    Experts,
    /// v: the vocabulary.
    Vocabulary,
    /// n-1: the tokens that have a next one.
    Predicted,
    /// 1: one number for a token.
    One,
}

impl Dim {
    /// The dimensions that have a letter, in the order in which the legend explains them.
    pub const LETTERS: [Dim; 11] = [
        Dim::Batch,
        Dim::Tokens,
        Dim::Attended,
        Dim::Embedding,
        Dim::Hidden,
        Dim::Heads,
        Dim::KvHeads,
        Dim::HeadSize,
        Dim::FeedForward,
        Dim::Experts,
        Dim::Vocabulary,
    ];

    /// The letter, or for [`Dim::Predicted`] and [`Dim::One`] the number.
    pub fn letter(self) -> &'static str {
        self.letter_and_meaning().0
    }

    /// What the letter stands for.
    pub fn meaning(self) -> &'static str {
        self.letter_and_meaning().1
    }

    fn letter_and_meaning(self) -> (&'static str, &'static str) {
        match self {
            Dim::Batch => ("b", "batch"),
            Dim::Tokens => ("n", "tokens"),
            Dim::Attended => ("m", "tokens attended to (n, or more with a cache)"),
            Dim::Embedding => ("e", "embedding size"),
            Dim::Hidden => ("d", "hidden size"),
            Dim::Heads => ("h", "query heads"),
            Dim::KvHeads => ("k", "key/value heads"),
            Dim::HeadSize => ("c", "head size"),
            Dim::FeedForward => ("f", "feed-forward size"),
            Dim::Experts => ("x", "experts"),
            Dim::Vocabulary => ("v", "vocabulary"),
            Dim::Predicted => ("n-1", "tokens that have a next one"),
            Dim::One => ("1", "one"),
        }
    }
}

/// A TransformerLens name of a point. In a block it follows `blocks.{i}.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// The same tensor in every family.
    Always(&'static str),
    /// The name of queries or keys depends on whether the family's positions are rotary: where they
    /// are, TransformerLens calls them `hook_q` before the rotation and `hook_rot_q` after it, and
    /// the point here is the tensor after the rotation.
    ByRotary {
        /// In families without rotary positions.
        plain: &'static str,
        /// In families with rotary positions.
        rotary: &'static str,
    },
    /// In families with rotary positions; in others TransformerLens calls another point by the name.
    RotaryOnly(&'static str),
}

impl Alias {
    /// The one or two names, each with whether it is one in families with rotary positions alone, or
    /// in the others alone.
    pub fn names(self) -> impl Iterator<Item = (&'static str, Option<bool>)> {
        let (first, second) = match self {
            Alias::Always(name) => ((name, None), None),
            Alias::ByRotary { plain, rotary } => ((plain, Some(false)), Some((rotary, Some(true)))),
            Alias::RotaryOnly(name) => ((name, Some(true)), None),
        };
        std::iter::once(first).chain(second)
    }

    /// The names in families whose positions are `rotary`, or in any if that is not given.
    pub fn names_in(self, rotary: Option<bool>) -> impl Iterator<Item = &'static str> {
        let known = move |only: Option<bool>| only.is_none() || rotary.is_none() || only == rotary;
        self.names().filter(move |(_, only)| known(*only)).map(|(name, _)| name)
    }
}

impl Point {
    /// The name in scripts and on the command line, as in `post-mlp`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The dimensions of the tensor.
    pub fn shape(self) -> &'static [Dim] {
        self.row().shape
    }

    /// What the tensor is, in a few words.
    pub fn holds(self) -> &'static str {
        self.row().holds
    }

    /// The TransformerLens name, in a block without its `blocks.{i}.`.
    pub fn alias(self) -> Option<Alias> {
        self.row().alias
    }

    /// The part of the pass that it belongs to.
    pub fn part(self) -> Part {
        self.row().part
    }

    /// Whether every block has it; otherwise a pass has it once.
    pub fn in_block(self) -> bool {
        self.part() == Part::InBlock
    }

    /// Whether a pass computes the tensor even if nothing asks for it, so that capturing it costs
    /// memory alone.
    pub fn is_always_computed(self) -> bool {
        !self.row().on_request
    }

    /// The kinds of model that lack the point, each with the reason; the first that fits counts.
    pub fn absent(self) -> &'static [(ModelKind, &'static str)] {
        self.row().absent
    }

    /// The index of the dimension that counts tokens, and which kind of tokens it counts:
    /// [`Dim::Tokens`], or [`Dim::Attended`], which includes cached ones. `None` if no dimension
    /// does.
    pub fn token_dim(self) -> Option<(usize, Dim)> {
        let position =
            |wanted: Dim| Some((self.shape().iter().position(|dim| *dim == wanted)?, wanted));
        position(Dim::Tokens).or_else(|| position(Dim::Attended))
    }

    /// The point of that name.
    ///
    /// # Errors
    /// No point has the name; the error suggests the nearest one.
    pub fn parse(name: &str) -> Result<Point> {
        Point::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| {
            let error = error!("there is no hook point {name:?}");
            // TransformerLens's cache also takes `resid_post` for `hook_resid_post`.
            let hook = format!("hook_{name}");
            let short = Point::ALL.into_iter().find(|point| {
                let first = point.alias().and_then(|alias| alias.names().next());
                first.is_some_and(|(alias, _)| alias.rsplit('.').next() == Some(&hook))
            });
            if let Some(point) = short {
                return error.help(format!("did you mean {point}?"));
            }
            match did_you_mean(name, Point::ALL.map(Point::name)) {
                Some(help) => error.help(help),
                None => error.help("`precompute points` lists them all"),
            }
        })
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_follow_one_another() {
        assert!(Point::ALL.is_sorted_by_key(|point| point.part()));
    }

    #[test]
    fn every_name_parses_to_its_point_and_no_alias_is_shared() {
        let mut aliases = Vec::new();
        for point in Point::ALL {
            assert_eq!(Point::parse(point.name()), Ok(point));
            aliases.extend(point.alias().into_iter().flat_map(Alias::names));
        }
        let count = aliases.len();
        aliases.sort();
        aliases.dedup();
        assert_eq!(aliases.len(), count);
        // In one family a name is one point's.
        for rotary in [true, false] {
            let mut names: Vec<_> = aliases
                .iter()
                .filter(|(_, only)| *only != Some(!rotary))
                .map(|(name, _)| name)
                .collect();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn a_misspelt_point_names_the_nearest() {
        let error = Point::parse("post-mpl").unwrap_err();
        assert!(error.help_text().unwrap().contains("post-mlp"), "{error}");
    }
}
