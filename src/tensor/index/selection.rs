//! [`Selection`], the elements that the subscripts of `x[..]` select from a tensor of a given
//! shape, by the rules of NumPy and PyTorch.

use candle_core::{Device, Tensor};

use super::subscript::same_elements;
use super::{ids, masked};
use crate::tensor::{Value, dims, elements};
use crate::{Error, Result, error};

/// One subscript. Each stands for one dim, a bool tensor for as many dims as it has.
#[derive(Debug, Clone)]
pub enum Index {
    /// One position, which drops the dim. A negative one counts from the end.
    At(i64),
    /// `start..end`. Negative ends count from the end of the dim, and both are clamped to it, as
    /// for slices in Python.
    Range {
        /// The first position.
        start: i64,
        /// The position after the last.
        end: i64,
    },
    /// The positions in an integer tensor, or those where a bool tensor is true.
    Pick(Value),
}

impl Index {
    /// Whether both select the same, as far as that can be told without reading tensors.
    pub fn same(&self, other: &Index) -> bool {
        match (self, other) {
            (Index::At(a), Index::At(b)) => a == b,
            (Index::Range { start, end }, Index::Range { start: from, end: to }) => {
                (start, end) == (from, to)
            }
            (Index::Pick(a), Index::Pick(b)) => same_elements(a, b),
            _ => false,
        }
    }
}

/// Subscripts resolved against the shape of a tensor.
pub struct Selection {
    /// One for each dim of the tensor.
    pub(super) selectors: Vec<Selector>,
    /// The shape that all integer and bool tensors among the subscripts broadcast to.
    picked: Vec<usize>,
}

/// What is selected along one dim.
pub(super) enum Selector {
    /// One position.
    At(usize),
    /// `len` positions from `start` on.
    Range { start: usize, len: usize },
    /// The positions of the picks in row-major order of their common shape.
    Pick(Vec<i64>),
}

/// Selected rows of a contiguous tensor that is seen as a matrix `[.., inner]`.
pub(super) struct Rows {
    /// The row numbers, in the order of the result.
    pub outer: Vec<i64>,
    /// The length of a row.
    pub inner: usize,
}

impl Selection {
    /// Resolves `indexes` against a tensor of shape `sizes`. Dims without a subscript are taken
    /// whole.
    ///
    /// # Errors
    /// There are more subscripts than dims; a position is out of range; the shape of a bool tensor
    /// differs from the dims that it stands for; the shapes of several integer or bool tensors do
    /// not broadcast.
    pub fn new(indexes: &[Index], sizes: &[usize]) -> Result<Self> {
        let mut selectors = Vec::with_capacity(sizes.len());
        let mut picks: Vec<(usize, Vec<usize>)> = Vec::new();
        for index in indexes {
            let dim = selectors.len();
            let takes = match index {
                Index::Pick(Value::Bool(mask)) => mask.rank(),
                _ => 1,
            };
            if dim + takes > sizes.len() {
                return Err(too_many_indexes(indexes, sizes));
            }
            match index {
                Index::At(i) => selectors.push(Selector::At(dims::index(*i, dim, sizes)?)),
                Index::Range { start, end } => {
                    let size = sizes[dim] as i64;
                    let place =
                        |i: i64| if i < 0 { i.saturating_add(size).max(0) } else { i.min(size) };
                    let (start, end) = (place(*start), place(*end));
                    selectors.push(Selector::Range {
                        start: start as usize,
                        len: (end - start).max(0) as usize,
                    });
                }
                Index::Pick(mask @ Value::Bool(_)) => {
                    if mask.rank() == 0 || mask.dims() != &sizes[dim..dim + takes] {
                        return Err(mask_mismatch(mask.dims(), dim, sizes));
                    }
                    let mut columns = masked::nonzero_columns(mask)?;
                    columns.truncate(takes);
                    for column in columns {
                        picks.push((selectors.len(), vec![column.len()]));
                        selectors.push(Selector::Pick(column));
                    }
                }
                Index::Pick(ids) => {
                    let places = ids::places(ids, dim, sizes, "indexing")?;
                    if ids.rank() == 0 {
                        selectors.push(Selector::At(places[0] as usize));
                    } else {
                        picks.push((dim, ids.dims().to_vec()));
                        selectors.push(Selector::Pick(places));
                    }
                }
            }
        }
        selectors
            .extend(sizes[selectors.len()..].iter().map(|&len| Selector::Range { start: 0, len }));
        let mut picked = Vec::new();
        for (_, shape) in &picks {
            picked = dims::broadcast(&picked, shape, "picking along several dims")?;
        }
        for (dim, shape) in picks {
            if let Selector::Pick(places) = &mut selectors[dim]
                && shape != picked
            {
                let wide = Tensor::from_vec(std::mem::take(places), shape, &Device::Cpu)?;
                *places = elements::to_vec(&wide.broadcast_as(picked.as_slice())?)?;
            }
        }
        Ok(Self { selectors, picked })
    }

    /// Whether an integer or bool tensor is among the subscripts, so that the elements are copied.
    pub(super) fn has_picks(&self) -> bool {
        self.selectors.iter().any(|s| matches!(s, Selector::Pick(_)))
    }

    /// The shape of the result.
    pub fn dims(&self) -> Vec<usize> {
        self.axes()
            .into_iter()
            .flat_map(|axis| match axis {
                Axis::Picks => self.picked.clone(),
                Axis::Range(_, len) => vec![len],
            })
            .collect()
    }

    /// The axes of the result in their order. As in NumPy, the dims of the picks take the position
    /// of the first pick if no range lies between picks, else they come first.
    fn axes(&self) -> Vec<Axis> {
        let mut axes = Vec::new();
        let mut places = Vec::new();
        for (dim, selector) in self.selectors.iter().enumerate() {
            match selector {
                Selector::At(_) => {}
                Selector::Range { len, .. } => axes.push(Axis::Range(dim, *len)),
                Selector::Pick(_) => places.push(axes.len()),
            }
        }
        if let (Some(&first), Some(&last)) = (places.first(), places.last()) {
            axes.insert(if first == last { first } else { 0 }, Axis::Picks);
        }
        axes
    }

    /// The selected rows of a contiguous tensor of shape `sizes`. A row spans the trailing dims
    /// that are taken whole.
    pub(super) fn rows(&self, sizes: &[usize]) -> Rows {
        let whole = |(selector, &size): (&Selector, &usize)| matches!(selector, Selector::Range { start: 0, len } if *len == size);
        let inner_dims =
            self.selectors.iter().zip(sizes).rev().take_while(|pair| whole(*pair)).count();
        let outer_dims = sizes.len() - inner_dims;
        let strides = dims::strides(&sizes[..outer_dims]);
        let mut fixed = 0;
        let mut picks = vec![0; self.picked.iter().product()];
        for (selector, &stride) in self.selectors.iter().zip(&strides) {
            match selector {
                Selector::At(i) => fixed += (i * stride) as i64,
                Selector::Range { start, .. } => fixed += (start * stride) as i64,
                Selector::Pick(places) => {
                    for (sum, place) in picks.iter_mut().zip(places) {
                        *sum += place * stride as i64;
                    }
                }
            }
        }
        let mut outer = vec![fixed];
        for axis in self.axes() {
            let steps: Vec<i64> = match axis {
                Axis::Picks => picks.clone(),
                Axis::Range(dim, _) if dim >= outer_dims => continue,
                Axis::Range(dim, len) => (0..len as i64).map(|i| i * strides[dim] as i64).collect(),
            };
            outer = outer.iter().flat_map(|row| steps.iter().map(move |step| row + step)).collect();
        }
        Rows { outer, inner: sizes[outer_dims..].iter().product() }
    }
}

/// One axis of the result, or several.
enum Axis {
    /// The axes of the common shape of all picks.
    Picks,
    /// A dim of the tensor, and how many of its positions are selected.
    Range(usize, usize),
}

/// The error for a bool tensor whose shape differs from the dims that it stands for.
fn mask_mismatch(mask: &[usize], dim: usize, sizes: &[usize]) -> Error {
    let error =
        error!("a mask {mask:?} does not fit dims {:?} of a tensor {sizes:?}", &sizes[dim..]);
    match (dim + 1..sizes.len()).find(|&at| !mask.is_empty() && sizes[at..].starts_with(mask)) {
        Some(at) => {
            let whole = ".., ".repeat(at - dim);
            error.help(format!(
                "x[[{whole}mask]] has a .. for each dim before those that the mask stands for"
            ))
        }
        None => error,
    }
}

fn too_many_indexes(indexes: &[Index], sizes: &[usize]) -> Error {
    match (sizes.len(), indexes.len()) {
        (0, _) => {
            error!("a tensor without dims cannot be indexed").help("use .item() for its number")
        }
        (rank, _) => error!("a tensor {sizes:?} has {rank} dims, and the index has more"),
    }
}
