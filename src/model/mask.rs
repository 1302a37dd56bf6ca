//! Which keys a query may attend to.

use candle_core::{Device, Tensor};

use super::input::Input;
use crate::Result;

/// The causal mask, padded keys left out, and of a sliding window the last `window` keys, the query's own included.
///
/// [b or 1, 1, n, n], u8: 1 where the query may look.
pub fn allowed(input: &Input, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let n = input.len();
    let window = window.unwrap_or(n);
    let causal: Vec<u8> =
        (0..n).flat_map(|query| (0..n).map(move |key| u8::from(key <= query && query - key < window))).collect();
    let causal = Tensor::from_vec(causal, (1, 1, n, n), device)?;
    if !input.is_padded() {
        return Ok(causal);
    }
    let keys = input.mask(device)?.reshape((input.batch(), 1, 1, n))?;
    Ok(causal.broadcast_mul(&keys)?)
}
