//! Attention patterns: for each head, how much weight each query gives to each key.

use serde::Serialize;

use super::colour::Scale;
use super::heatmap::check_grid;
use super::json_number;
use super::label::{all_trimmed, of_places};
use crate::{Result, bail};

/// The attention patterns of some heads.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Attention {
    /// The tokens of the queries. Empty means that queries are labelled by index.
    pub tokens: Vec<String>,
    /// The tokens of the keys: those of the queries, after those of a cache if there is one. Empty
    /// means that keys are labelled by index.
    pub keys: Vec<String>,
    /// The weights, `[head][query][key]`.
    #[serde(serialize_with = "json_number::serialize")]
    pub heads: Vec<Vec<Vec<f64>>>,
    /// The title above the picture; may be empty.
    pub title: String,
}

impl Attention {
    /// Checks that the attention can be drawn.
    ///
    /// # Errors
    /// No heads, heads of different shapes, or tokens and keys whose numbers do not fit the heads.
    pub fn validate(&self) -> Result<()> {
        if self.heads.is_empty() {
            bail!("attention needs at least one head");
        }
        for (h, head) in self.heads.iter().enumerate() {
            check_grid(&format!("head {h}"), head)?;
            let (n, m) = (head.len(), head[0].len());
            let (queries, keys) = (self.heads[0].len(), self.heads[0][0].len());
            if (n, m) != (queries, keys) {
                bail!("head {h} is [{n}, {m}] where head 0 is [{queries}, {keys}]");
            }
            if (!self.tokens.is_empty() && self.tokens.len() != n)
                || (!self.keys.is_empty() && self.keys.len() != m)
            {
                let (tokens, keys) = (self.tokens.len(), self.keys.len());
                bail!(
                    "attention over {tokens} tokens and {keys} keys needs heads of [{tokens}, {keys}], not [{n}, {m}]"
                );
            }
        }
        Ok(())
    }

    /// One scale for all heads, which makes them comparable. It includes zero.
    pub(super) fn scale(&self) -> Result<Scale> {
        self.validate()?;
        Ok(Scale::of(self.heads.iter().flatten().flatten().copied())?.with_zero())
    }

    /// The labels of queries and keys, each at most `most` columns wide.
    pub(super) fn labels(&self, most: usize) -> (Vec<String>, Vec<String>) {
        let short = |given, count| all_trimmed(&of_places(given, count), most);
        (short(&self.tokens, self.heads[0].len()), short(&self.keys, self.heads[0][0].len()))
    }
}

#[cfg(all(test, feature = "plots"))]
mod tests {
    use super::*;
    use crate::output::picture::Picture;

    fn attention(heads: usize, n: usize, m: usize) -> Attention {
        let names = |count: usize| (0..count).map(|i| format!(" t{i}")).collect();
        let row =
            |i: usize| (0..m).map(|j| if j <= i { 1.0 / (i + 1) as f64 } else { 0.0 }).collect();
        let head: Vec<Vec<f64>> = (0..n).map(row).collect();
        Attention {
            tokens: names(n),
            keys: names(m),
            heads: vec![head; heads],
            title: "Layer 3".into(),
        }
    }

    #[test]
    fn each_head_is_named() {
        let svg = Picture::Attention(attention(6, 4, 4)).svg().unwrap();
        for text in ["Layer 3", "head 0", "head 5", "·t3", "0.4"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
    }

    #[test]
    fn any_number_of_heads_and_tokens_is_drawn() {
        for (heads, n, m) in [(1, 1, 1), (1, 1, 9), (3, 2, 5), (32, 20, 20), (5, 300, 300)] {
            let picture = Picture::Attention(attention(heads, n, m));
            assert!(picture.svg().unwrap().len() < 30_000_000);
            assert!(picture.png().is_ok());
            for width in [10, 79] {
                let text = picture.terminal(width, false).unwrap();
                assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
                assert!(width < 20 || text.matches("head").count() == heads, "{text}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let message = |attention: Attention| {
            Picture::Attention(attention).svg().unwrap_err().message().to_owned()
        };
        assert_eq!(message(Attention::default()), "attention needs at least one head");
        let mut uneven = attention(2, 3, 3);
        uneven.heads[1].pop();
        assert_eq!(message(uneven), "head 1 is [2, 3] where head 0 is [3, 3]");
        let mut unnamed = attention(1, 3, 4);
        unnamed.tokens.pop();
        let expected = "attention over 2 tokens and 4 keys needs heads of [2, 4], not [3, 4]";
        assert_eq!(message(unnamed), expected);
    }
}
