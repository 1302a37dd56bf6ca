//! Where in a pass a tensor can be observed: at a point, and in a block at the block's index.

use std::fmt;

use super::places::Places;
use super::point::Point;

/// One place of one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// The point.
    pub point: Point,
    /// The block's index, from 0, for a point that every block has; `None` for the others.
    pub layer: Option<usize>,
}

/// `post-mlp@3`, or the point's name alone.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "{}@{layer}", self.point),
            None => write!(f, "{}", self.point),
        }
    }
}

/// The layers that a hook or a capture asks for; negative numbers count from the last.
pub type Layers = Places;
