//! The mask of attention: the keys that each query may attend to.

use candle_core::{Device, Tensor};

use super::input::Input;
use crate::Result;

/// [b or 1, 1, n, m], u8: 1 where the query may attend to the key. Those are the keys that are not
/// later than the query, not padding, not hidden by the input's own mask of attention, and within
/// the last `window` positions, the query's own included, if there is a sliding window. With
/// `both_ways` later keys are as earlier ones are.
///
/// # Errors
/// The input's mask of attention hides every key in a real query's window.
pub fn allowed(
    input: &Input,
    window: Option<usize>,
    both_ways: bool,
    device: &Device,
) -> Result<Tensor> {
    let (n, m, past) = (input.len(), input.attended(), input.past());
    if !input.is_padded() && input.sight().is_none() {
        let window = window.unwrap_or(m);
        let near = move |query: usize, key: usize| {
            (both_ways || key <= query) && query.abs_diff(key) < window
        };
        let causal: Vec<u8> =
            (past..m).flat_map(|query| (0..m).map(move |key| u8::from(near(query, key)))).collect();
        return Ok(Tensor::from_vec(causal, (1, 1, n, m), device)?);
    }
    let mut allowed = Vec::with_capacity(input.batch() * n * m);
    for row in 0..input.batch() {
        let (real, positions) = (input.real(row), input.row_positions(row));
        let window = window.unwrap_or(m) as u32;
        for query in past..m {
            let near = |key: usize| {
                real[key]
                    && (both_ways || key <= query)
                    && positions[query].abs_diff(positions[key]) < window
            };
            let first = allowed.len();
            allowed.extend((0..m).map(|key| u8::from(near(key) && input.sees(row, query, key))));
            if real[query] && !allowed[first..].contains(&1) {
                return Err(input.blind(row, query));
            }
        }
    }
    Ok(Tensor::from_vec(allowed, (input.batch(), 1, n, m), device)?)
}
