//! Kernels for the CPU, where candle's own read more than they must or use one core.

mod few_rows;

pub use few_rows::few_rows;
