//! `t[…]`: reading and writing parts of a tensor, by NumPy's and PyTorch's rules.

use candle_core::Tensor;

use super::gather;
use crate::tensor::elementwise::arithmetic::empty;
use crate::tensor::elementwise::loops;
use crate::tensor::operand::Operand;
use crate::tensor::transfer::copy::Overwrite;
use crate::tensor::{Kind, Value, creation, dims, dtype, operand};
use crate::{Error, Result, bail, error};

/// What stands in the brackets for one dim (a bool tensor: for as many dims as it has).
#[derive(Debug, Clone)]
pub enum Index {
    At(i64),
    /// `start..end`; either counts from the end where negative, and what reaches beyond the dim is
    /// cut off.
    Range {
        start: i64,
        end: i64,
    },
    /// Several places, by integers, or those where a bool tensor is true.
    Pick(Value),
}

/// Indexes resolved against a shape.
pub struct Selection {
    selectors: Vec<Selector>,
    /// The shape that all [`Selector::Pick`] have in common.
    picked: Vec<usize>,
}

enum Selector {
    At(usize),
    Range { start: usize, len: usize },
    Pick(Vec<i64>),
}

/// The elements selected of a tensor seen as [outer, inner].
struct Rows {
    outer: Vec<i64>,
    inner: usize,
}

impl Selection {
    /// # Errors
    /// Too many indexes, one out of range, a mask of another shape than the dims it stands for,
    /// picks that do not broadcast.
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
                return Err(too_many(indexes, sizes));
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
                        return Err(misfit(mask.dims(), dim, sizes));
                    }
                    let mut columns = gather::nonzero_columns(mask)?;
                    columns.truncate(takes);
                    for column in columns {
                        picks.push((selectors.len(), vec![column.len()]));
                        selectors.push(Selector::Pick(column));
                    }
                }
                Index::Pick(ids) => {
                    let places = gather::places(ids, dim, sizes, "indexing")?;
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
                let wide =
                    Tensor::from_vec(std::mem::take(places), shape, &candle_core::Device::Cpu)?;
                *places = loops::host(&wide.broadcast_as(picked.as_slice())?)?;
            }
        }
        Ok(Self { selectors, picked })
    }

    fn has_picks(&self) -> bool {
        self.selectors.iter().any(|s| matches!(s, Selector::Pick(_)))
    }

    /// The shape of what is selected.
    pub fn dims(&self) -> Vec<usize> {
        self.axes()
            .into_iter()
            .flat_map(|axis| match axis {
                Axis::Picks => self.picked.clone(),
                Axis::Range(_, len) => vec![len],
            })
            .collect()
    }

    /// The dims of the result in their order: the picks' stand where the first was if they were
    /// side by side, else in front.
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

    /// Which rows of `sizes`, seen as [outer, inner], are selected, in the result's order. The
    /// inner dims are the last ones, as many as are taken whole.
    fn rows(&self, sizes: &[usize]) -> Rows {
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

enum Axis {
    Picks,
    /// The dim of the tensor, and the size of what is left of it.
    Range(usize, usize),
}

/// A mask that stands for dims of other sizes than its own.
fn misfit(mask: &[usize], dim: usize, sizes: &[usize]) -> Error {
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

fn too_many(indexes: &[Index], sizes: &[usize]) -> crate::Error {
    match (sizes.len(), indexes.len()) {
        (0, _) => {
            error!("a tensor without dims cannot be indexed").help("use .item() for its number")
        }
        (rank, _) => error!("a tensor {sizes:?} has {rank} dims, and the index has more"),
    }
}

/// The part that `indexes` select. Without picks it shares the tensor's storage.
///
/// # Errors
/// As [`Selection::new`].
pub fn get(value: &Value, indexes: &[Index]) -> Result<Value> {
    let selection = Selection::new(indexes, value.dims())?;
    let shape = selection.dims();
    if !selection.has_picks() {
        return value.map(|t| {
            let mut t = t.clone();
            for (dim, selector) in selection.selectors.iter().enumerate() {
                t = match *selector {
                    Selector::At(i) => t.narrow(dim, i, 1)?,
                    Selector::Range { start, len } if len < t.dims()[dim] => {
                        t.narrow(dim, start, len)?
                    }
                    _ => t,
                };
            }
            // Only At leaves dims of size 1 to drop, from the last so that the numbers before stay
            // right.
            for (dim, selector) in selection.selectors.iter().enumerate().rev() {
                if let Selector::At(_) = selector {
                    t = t.squeeze(dim)?;
                }
            }
            Ok(t)
        });
    }
    if shape.contains(&0) {
        return empty(&shape, Kind::of(value), value.device());
    }
    let Rows { outer, inner } = selection.rows(value.dims());
    let flat = value.map(|t| t.reshape(((), inner)))?;
    gather::slices(&flat, 0, outer)?.map(|t| t.reshape(shape.as_slice()))
}

/// Writes `source` into the part that `indexes` select of `target`, whose tensors are contiguous
/// and nobody else's. The source is broadcast, cast to the target's dtype and moved to its device;
/// the cost is that of the part, not of the target.
///
/// # Errors
/// As [`Selection::new`]; a source that does not broadcast to the part, or that the dtype cannot
/// hold.
pub fn set(target: &Value, indexes: &[Index], source: Operand) -> Result<()> {
    let selection = Selection::new(indexes, target.dims())?;
    let shape = selection.dims();
    let source = fitted(source, &shape, target)?;
    if shape.contains(&0) {
        return Ok(());
    }
    for (to, from) in target.parts().into_iter().zip(source.parts()) {
        write(to, &selection, from)?;
    }
    Ok(())
}

/// A write into host memory whose source is on its way there from a GPU.
pub struct Arrival {
    selection: Selection,
    parts: Vec<Box<dyn FnOnce() -> Result<Tensor>>>,
}

impl Arrival {
    /// A write of `parts`, which are waited for when it lands.
    ///
    /// # Errors
    /// As [`Selection::new`].
    pub fn new(
        target: &Value,
        indexes: &[Index],
        parts: Vec<Box<dyn FnOnce() -> Result<Tensor>>>,
    ) -> Result<Self> {
        Ok(Self { selection: Selection::new(indexes, target.dims())?, parts })
    }

    /// Begins what [`set`] does, where the source is on a GPU and the target in host memory;
    /// nothing elsewhere.
    ///
    /// # Errors
    /// As [`set`].
    #[cfg(feature = "cuda")]
    pub fn depart(target: &Value, indexes: &[Index], source: Operand) -> Result<Option<Self>> {
        let Operand::Tensor(value) = source else { return Ok(None) };
        let selection = Selection::new(indexes, target.dims())?;
        let shape = selection.dims();
        if !value.device().is_cuda() || !target.device().is_cpu() || shape.contains(&0) {
            return Ok(None);
        }
        let kind = Kind::of(target);
        let there = fitted_to(dtype::cast(value, kind)?, source.dims(), &shape)?;
        let parts = there.parts().into_iter().map(|part| {
            let departed = crate::kernel::cuda::Departed::new(part)?;
            Ok(Box::new(move || departed.land()) as Box<dyn FnOnce() -> Result<Tensor>>)
        });
        Ok(Some(Self { parts: parts.collect::<Result<_>>()?, selection }))
    }

    #[cfg(not(feature = "cuda"))]
    pub fn depart(_: &Value, _: &[Index], _: Operand) -> Result<Option<Self>> {
        Ok(None)
    }

    /// Waits for the source, and writes it into the target it was meant for.
    ///
    /// # Errors
    /// The driver's own.
    pub fn land(self, target: &Value) -> Result<()> {
        for (to, from) in target.parts().into_iter().zip(self.parts) {
            write(to, &self.selection, &from()?)?;
        }
        Ok(())
    }
}

/// Whether that part of `target` is `source` already: the same elements in memory or, where they
/// were picked and so copied, equal ones to the last bit.
///
/// Rhai writes back what it read through an index: `t[0].exp()` ends in `t[0] = t[0]`, which must
/// cost nothing.
///
/// # Errors
/// As [`Selection::new`].
pub fn holds(target: &Value, indexes: &[Index], source: &Value) -> Result<bool> {
    if Kind::of(target) != Kind::of(source) || !target.device().same_device(source.device()) {
        return Ok(false);
    }
    let part = get(target, indexes)?;
    if part.dims() != source.dims() {
        return Ok(false);
    }
    if !indexes.iter().any(|index| matches!(index, Index::Pick(_))) {
        return Ok(same_elements(&part, source));
    }
    for (a, b) in part.parts().into_iter().zip(source.parts()) {
        let numbers = |t: &Tensor| creation::to_numbers(&t.clone().into());
        if !numbers(a)?.into_iter().zip(numbers(b)?).all(|(x, y)| x.is_same(y)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether both look at the same elements of the same storage, in the same order.
pub fn same_elements(a: &Value, b: &Value) -> bool {
    let view = |t: &Tensor| (t.layout().start_offset(), t.stride().to_vec());
    a.dims() == b.dims()
        && a.addresses() == b.addresses()
        && a.parts().iter().zip(b.parts()).all(|(a, b)| view(a) == view(b))
}

/// The source in the part's shape and the target's dtype, on its device, in storage of its own.
fn fitted(source: Operand, shape: &[usize], target: &Value) -> Result<Value> {
    let kind = Kind::of(target);
    let value = match source {
        Operand::Number(number) => {
            number.check_holds(kind)?;
            number.value(kind, target.device())?
        }
        Operand::Tensor(value) => {
            let own = target.addresses();
            let value = if value.addresses().iter().any(|a| own.contains(a)) {
                value.deep_copy()?
            } else {
                value.clone()
            };
            operand::transfer(&dtype::cast(&value, kind)?, target.device())?
        }
    };
    fitted_to(value, source.dims(), shape)
}

/// The value in `shape`, in one piece; `given` is how the script gave it.
fn fitted_to(mut value: Value, given: &[usize], shape: &[usize]) -> Result<Value> {
    while value.rank() > shape.len() && value.dims()[0] == 1 {
        value = value.map(|t| t.squeeze(0))?;
    }
    match dims::broadcast(value.dims(), shape, "assignment") {
        Ok(both) if both == shape => value.map(|t| t.broadcast_as(shape)?.contiguous()),
        _ => bail!("a tensor {given:?} cannot be written into a part of shape {shape:?}"),
    }
}

fn write(target: &Tensor, selection: &Selection, source: &Tensor) -> Result<()> {
    // The first dims, where one place each is chosen, only say where the part begins.
    let mut part = target.clone();
    let mut rest = selection.selectors.as_slice();
    while let [Selector::At(i), others @ ..] = rest {
        part = part.narrow(0, *i, 1)?.squeeze(0)?;
        rest = others;
    }
    let restricted: Vec<usize> = (0..rest.len())
        .filter(|&dim| !matches!(rest[dim], Selector::Range { len, .. } if len == part.dims()[dim]))
        .collect();
    if part.rank() == 0 {
        return Ok(part.reshape(1)?.slice_set(&source.reshape(1)?, 0, 0)?);
    }
    let block = match restricted.as_slice() {
        [] => Some((0, 0, part.dims()[0])),
        [dim] => match rest[*dim] {
            Selector::At(i) => Some((*dim, i, 1)),
            Selector::Range { start, len } => Some((*dim, start, len)),
            Selector::Pick(_) => None,
        },
        _ => None,
    };
    if let Some((dim, start, len)) = block {
        let mut shape = part.dims().to_vec();
        shape[dim] = len;
        let source = source.reshape(shape)?;
        let block = part.narrow(dim, start, len)?;
        match block.device().is_cpu() && block.is_contiguous() && source.is_contiguous() {
            true => block.inplace_op2(&source, &Overwrite)?,
            false => part.slice_set(&source, dim, start)?,
        }
        return Ok(());
    }
    let Rows { outer, inner } = selection.rows(target.dims());
    let count = outer.len();
    let ids = loops::place(outer, &[count, 1], target.device())?
        .broadcast_as((count, inner))?
        .contiguous()?;
    Ok(target.reshape(((), inner))?.scatter_set(&ids, &source.reshape((count, inner))?, 0)?)
}
