//! Functions of the lines of a CPU tensor along one of its dims, in parallel. The lines are read
//! without transposing the tensor, so that all dims are about as fast.

use std::mem::MaybeUninit;

use candle_core::{Device, Tensor, WithDType};

use crate::Result;
use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::{CHUNK, Disjoint};
use crate::tensor::dims;
use crate::tensor::elements::{self, with_slice};
use crate::tensor::elementwise::loops;

/// Lines that are read together: the neighbouring elements of 16 lines fill whole cache lines.
const TILE: usize = 16;

/// A tensor in row-major order as `[outer, size, inner]`; its `outer * inner` lines run along
/// `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    pub outer: usize,
    pub size: usize,
    pub inner: usize,
}

/// Neighbouring lines, at most [`TILE`].
pub struct Tile {
    lines: Lines,
    start: usize,
    count: usize,
}

impl Tile {
    /// The lines, one after the other, of a tensor's elements in row-major order. They are copied to
    /// `buffer` unless they are contiguous.
    pub fn read<'a, T: Copy>(&self, elements: &'a [T], buffer: &'a mut Vec<T>) -> &'a [T] {
        let Lines { size, inner, .. } = self.lines;
        let from = &elements[self.start..];
        if inner == 1 {
            return &from[..self.count * size];
        }
        buffer.resize(self.count * size, from[0]);
        turn(from, inner, buffer, size, |x| x);
        buffer
    }
}

/// The dim that `dim` names. A tensor without dims counts as a line of one element.
///
/// # Errors
/// A dim that the shape does not have.
pub fn dim(dim: i64, dims: &[usize]) -> Result<usize> {
    if dims.is_empty() && (-1..=0).contains(&dim) { Ok(0) } else { dims::dim(dim, dims) }
}

/// `shape` with `dim` (as [`dim`] gives it) of another size.
pub fn resized(shape: &[usize], dim: usize, size: usize) -> Vec<usize> {
    match shape.get(dim) {
        None if size == 1 => vec![],
        None => vec![size],
        Some(_) => [&shape[..dim], &[size], &shape[dim + 1..]].concat(),
    }
}

impl Lines {
    /// Those along `dim`, as [`dim`] gives it.
    pub fn along(shape: &[usize], dim: usize) -> Self {
        let (before, rest) = shape.split_at(dim);
        let (size, after) = rest.split_first().map_or((1, rest), |(&size, after)| (size, after));
        Self { outer: before.iter().product(), size, inner: after.iter().product() }
    }

    /// `width` results for each line, one line after the other. `f` gets a tile, a buffer that is
    /// reused for many tiles, and the tile's results, initialised with `blank`.
    pub fn fill<B: Default, U: Copy + Send + Sync>(
        &self,
        width: usize,
        blank: U,
        f: impl Fn(&Tile, &mut B, &mut [U]) + Sync,
    ) -> Vec<U> {
        let count = self.outer * self.inner * width;
        if count == 0 || self.size == 0 {
            return vec![blank; count];
        }
        let (lanes, step) = if self.inner == 1 { (self.outer, self.size) } else { (self.inner, 1) };
        let least = |lines: usize| (CHUNK / (lines * self.size)).max(1);
        let fill = |out: &mut [MaybeUninit<U>]| {
            let slab = |slab: usize, out: &mut [MaybeUninit<U>]| {
                let some = least(TILE);
                parallel::chunks(out, some * TILE * width, |task, out| {
                    let mut buffer = B::default();
                    for (i, out) in out.chunks_mut(TILE * width).enumerate() {
                        let start = slab * lanes * self.size + (task * some + i) * TILE * step;
                        let out = elements::fill_with(out, blank);
                        f(
                            &Tile { lines: *self, start, count: out.len() / width },
                            &mut buffer,
                            out,
                        );
                    }
                });
            };
            match out.len() / (lanes * width) {
                1 => slab(0, out),
                _ => parallel::rows(out, lanes * width, lanes * self.size, slab),
            }
        };
        // SAFETY: the tiles of all slabs cover the output, and `fill_with` initialises each.
        unsafe { elements::filled_vec(count, fill) }
    }

    /// `N` vectors with `width` results for each line, in the tensor's order `[outer, width, inner]`.
    /// `f` gets a tile, a buffer that is reused for many tiles, and the tile's results in each
    /// vector, one line after the other.
    ///
    /// # Safety
    /// `f` must initialise every result that it gets.
    pub unsafe fn spread<const N: usize, B: Default, U: WithDType>(
        &self,
        width: usize,
        f: impl Fn(&Tile, &mut B, [&mut [MaybeUninit<U>]; N]) + Sync,
    ) -> [Vec<U>; N] {
        let count = self.outer * self.inner * width;
        if count == 0 || self.size == 0 {
            return std::array::from_fn(|_| vec![U::zero(); count]);
        }
        // Contiguous lines need no neighbours, and the results of a few stay in the L1 cache.
        let (slabs, lanes, step, most) = match self.inner {
            1 => (1, self.outer, self.size, 4),
            inner => (self.outer, inner, 1, TILE),
        };
        let tiles = slabs * lanes.div_ceil(most);
        let some = (CHUNK / (most * self.size)).max(tiles / (8 * parallel::threads())).max(1);
        let mut results: [Vec<U>; N] = std::array::from_fn(|_| Vec::with_capacity(count));
        let outs =
            results.each_mut().map(|out| Disjoint::new(&mut out.spare_capacity_mut()[..count]));
        parallel::each(tiles.div_ceil(some), |task| {
            let mut buffer = B::default();
            let mut own: [Vec<MaybeUninit<U>>; N] = std::array::from_fn(|_| Vec::new());
            for tile in task * some..tiles.min((task + 1) * some) {
                let (slab, first) =
                    (tile / lanes.div_ceil(most), tile % lanes.div_ceil(most) * most);
                let count = most.min(lanes - first);
                let tile =
                    Tile { lines: *self, start: slab * lanes * self.size + first * step, count };
                // SAFETY: the tiles have no line in common, and each line has results of its own in
                // `outs`, so no two tasks use the same element.
                unsafe {
                    if self.inner == 1 {
                        f(
                            &tile,
                            &mut buffer,
                            outs.each_ref()
                                .map(|out| out.part(first * width..(first + count) * width)),
                        );
                        continue;
                    }
                    own.iter_mut().for_each(|own| own.resize(count * width, MaybeUninit::uninit()));
                    f(&tile, &mut buffer, own.each_mut().map(|own| &mut own[..]));
                    for (out, own) in outs.iter().zip(&own) {
                        for place in 0..width {
                            let out = out.at((slab * width + place) * lanes + first);
                            for line in 0..count {
                                *out.add(line) = own[line * width + place];
                            }
                        }
                    }
                }
            }
        });
        for results in &mut results {
            // SAFETY: the tiles cover all lines, and the caller guarantees that `f` has initialised
            // the results of each.
            unsafe { results.set_len(count) };
        }
        results
    }

    /// `width` results for each line of a CPU tensor, one line after the other. `f` gets a line and
    /// its results, initialised with `blank`.
    ///
    /// # Errors
    /// A tensor that is not on the CPU or not of `T`.
    pub fn map<T: WithDType, U: Copy + Send + Sync>(
        &self,
        tensor: &Tensor,
        width: usize,
        blank: U,
        f: impl Fn(&[T], &mut [U]) + Sync,
    ) -> Result<Vec<U>> {
        Ok(with_slice(tensor, |elements: &[T]| {
            self.fill(width, blank, |tile, buffer: &mut Vec<T>, out| {
                let lines = tile.read(elements, buffer).chunks(self.size);
                lines.zip(out.chunks_mut(width)).for_each(|(line, out)| f(line, out));
            })
        })?)
    }

    /// `part` of each of the results that came one line after the other, `width` per line, brought
    /// into the tensor's order `[outer, width, inner]`.
    pub fn turned<U: Copy + Sync, V: WithDType>(
        &self,
        results: &[U],
        width: usize,
        part: impl Fn(U) -> V + Sync,
    ) -> Vec<V> {
        if self.inner == 1 {
            return loops::mapped(results, |&x| part(x));
        }
        if results.is_empty() {
            return Vec::new();
        }
        let (slab, least) =
            (width * self.inner, |rows: usize| (CHUNK / (rows * self.inner)).max(1));
        let fill = |out: &mut [MaybeUninit<V>]| {
            let turned = |at: usize, out: &mut [MaybeUninit<V>]| {
                let results = &results[at * slab..][..slab];
                parallel::chunks(out, least(TILE) * TILE * self.inner, |task, out| {
                    for (i, out) in out.chunks_mut(TILE * self.inner).enumerate() {
                        let first = (task * least(TILE) + i) * TILE;
                        turn(
                            &results[first..],
                            width,
                            elements::fill_with(out, V::zero()),
                            self.inner,
                            &part,
                        );
                    }
                });
            };
            match out.len() / slab {
                1 => turned(0, out),
                _ => parallel::rows(out, slab, slab, turned),
            }
        };
        // SAFETY: the rows of all slabs cover the output, and `fill_with` initialises each.
        unsafe { elements::filled_vec(results.len(), fill) }
    }
}

/// Writes `part` of the columns of `from`, whose rows are `stride` apart, to the rows of `to`, which
/// are `height` long.
fn turn<T: Copy, U>(from: &[T], stride: usize, to: &mut [U], height: usize, part: impl Fn(T) -> U) {
    for first in (0..height).step_by(TILE) {
        let last = (first + TILE).min(height);
        for (column, row) in to.chunks_mut(height).enumerate() {
            for (i, out) in (first..last).zip(&mut row[first..last]) {
                *out = part(from[i * stride + column]);
            }
        }
    }
}

/// A tensor of the same shape, each line of which along `dim` (as [`dim`] gives it) `f` writes.
///
/// # Errors
/// A tensor that is not on the CPU or not of `T`.
pub fn along<T: WithDType, U: WithDType>(
    tensor: &Tensor,
    dim: usize,
    f: impl Fn(&[T], &mut [U]) + Sync,
) -> Result<Tensor> {
    let lines = Lines::along(tensor.dims(), dim);
    let [elements] = with_slice(tensor, |elements: &[T]| {
        let write = |tile: &Tile, buffer: &mut Vec<T>, [out]: [&mut [MaybeUninit<U>]; 1]| {
            let out = elements::fill_with(out, U::zero()).chunks_mut(lines.size);
            tile.read(elements, buffer)
                .chunks(lines.size)
                .zip(out)
                .for_each(|(line, out)| f(line, out));
        };
        // SAFETY: `fill_with` initialises every result.
        unsafe { lines.spread(lines.size, write) }
    })?;
    elements::from_vec(elements, tensor.dims(), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_line_and_puts_its_results_back() {
        for shape in [
            vec![3, 1],
            vec![2, 40, 50],
            vec![40, 33],
            vec![5, 2, 17, 3],
            vec![7000, 3],
            vec![2, 0, 3],
            vec![],
        ] {
            let count = shape.iter().product::<usize>();
            let xs: Vec<i64> = (0..count as i64).collect();
            let x = elements::from_vec(xs.clone(), &shape, &Device::Cpu).unwrap();
            for dim in 0..shape.len().max(1) {
                let lines = Lines::along(&shape, dim);
                let reversed = along(&x, dim, |line: &[i64], out: &mut [i64]| {
                    out.iter_mut().zip(line.iter().rev()).for_each(|(out, &x)| *out = x);
                });
                let expected: Vec<i64> = (0..count)
                    .map(|i| {
                        let place = i / lines.inner % lines.size;
                        xs[i - place * lines.inner + (lines.size - 1 - place) * lines.inner]
                    })
                    .collect();
                assert_eq!(
                    elements::to_vec::<i64>(&reversed.unwrap()).unwrap(),
                    expected,
                    "{shape:?} {dim}"
                );
                let ends = lines.map(&x, 2, 0, |line: &[i64], out| {
                    (out[0], out[1]) = (line[0], line[lines.size - 1])
                });
                let turned = lines.turned(&ends.unwrap(), 2, |x| x);
                let ends = elements::from_vec(turned, &[lines.outer, 2, lines.inner], &Device::Cpu)
                    .unwrap();
                if count > 0 {
                    let three = x.reshape((lines.outer, lines.size, lines.inner)).unwrap();
                    let of = |t: Tensor| elements::to_vec::<i64>(&t).unwrap();
                    for (at, place) in [(0, 0), (1, lines.size - 1)] {
                        assert_eq!(
                            of(ends.narrow(1, at, 1).unwrap()),
                            of(three.narrow(1, place, 1).unwrap())
                        );
                    }
                }
            }
        }
    }
}
