//! The tokens of each expert.

use candle_core::{Device, Tensor};

use super::rows;
use crate::Result;

/// An expert with the tokens that have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub expert: usize,
    /// The tokens' places among all, ascending.
    pub tokens: Vec<u32>,
}

impl Group {
    /// The tokens' places as a tensor.
    ///
    /// # Errors
    /// candle's.
    pub fn places(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::new(self.tokens.as_slice(), device)?)
    }
}

/// The experts that tokens have, each once, by the shares [t, x]: a token has the experts whose share
/// is not 0.
///
/// # Errors
/// candle's.
pub fn by_expert(shares: &Tensor) -> Result<Vec<Group>> {
    let mut tokens = vec![Vec::new(); shares.dim(1)?];
    for (token, shares) in rows(shares)?.iter().enumerate() {
        let had = shares.iter().zip(&mut tokens).filter(|(share, _)| **share != 0.0);
        had.for_each(|(_, tokens)| tokens.push(token as u32));
    }
    let group = |(expert, tokens): (usize, Vec<u32>)| {
        (!tokens.is_empty()).then_some(Group { expert, tokens })
    };
    Ok(tokens.into_iter().enumerate().filter_map(group).collect())
}

/// The places of the tokens of all groups, one group after the other.
///
/// # Errors
/// candle's.
pub fn places(groups: &[Group], device: &Device) -> Result<Tensor> {
    let all: Vec<u32> = groups.iter().flat_map(|group| &group.tokens).copied().collect();
    Ok(Tensor::new(all, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_experts_whose_share_is_not_0() {
        let shares = [[0.0f32, 0.5, 0.0, -0.5], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, f32::NAN]];
        let groups = by_expert(&Tensor::new(&shares, &Device::Cpu).unwrap()).unwrap();
        let group = |expert, tokens: &[u32]| Group { expert, tokens: tokens.to_vec() };
        assert_eq!(groups, [group(1, &[0, 1]), group(3, &[0, 2])]);
        let places = places(&groups, &Device::Cpu).unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(places, [0, 1, 0, 2]);
    }
}
