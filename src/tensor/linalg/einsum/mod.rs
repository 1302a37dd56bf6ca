//! `einsum`: Einstein summation, by pairwise batched matrix products of permuted and reshaped
//! tensors.

mod equation;

use candle_core::Device;
use equation::{Label, parse};

use super::matmul::{self, matmul};
use crate::tensor::elementwise::arithmetic::Arithmetic;
use crate::tensor::index::select;
use crate::tensor::operand::Operand;
use crate::tensor::reduce::over::Over;
use crate::tensor::reduce::sums;
use crate::tensor::shape::view;
use crate::tensor::{Kind, Value, dims, dtype, operand};
use crate::{Result, error};

/// A tensor whose dims have distinct labels.
#[derive(Clone)]
struct Term<'e> {
    value: Value,
    /// One for each dim.
    labels: Vec<Label<'e>>,
}

/// `torch.einsum`: the product of `operands` over the dims that `equation` names, by letters as in
/// `"bhnm,bhmc->bhnc"` or by words as in einops, `"batch query, batch key -> query key"`.
///
/// Dims of the same name are multiplied element by element, and those that the right side omits are
/// summed over. A name that occurs twice in one term takes its diagonal, `...` stands for any dims,
/// which are broadcast, and without `->` the result has the letters that occur once, in
/// alphabetical order. Dtypes are promoted.
///
/// # Errors
/// The equation does not fit the operands; the sizes of dims of one name differ and neither is 1;
/// all operands are bool; the tensors are on different devices.
pub fn einsum(equation: &str, operands: &[&Value]) -> Result<Value> {
    let fault = |reason: String| error!("einsum {equation:?}: {reason}");
    let (inputs, output) = parse(equation, operands).map_err(fault)?;
    let kind =
        operands.iter().map(|value| Kind::of(value)).reduce(Kind::promote).unwrap_or(Kind::F32);
    let mut device = Device::Cpu;
    for &value in operands {
        device = operand::common_device(operands[0].into(), value.into(), "einsum")?;
    }
    if kind == Kind::Bool {
        return Err(error!("einsum has no meaning for bool tensors")
            .help("convert them first, with .to(\"f32\")"));
    }
    let work = matmul::working(kind, device.is_cpu());
    let mut terms = Vec::with_capacity(operands.len());
    for (value, labels) in operands.iter().zip(inputs) {
        terms.push(
            Term::new(Operand::from(*value).value(work, &device)?, labels)
                .map_err(|e| e.at("einsum"))?,
        );
    }
    let sizes = Sizes::of(&terms).map_err(|reason| {
        let shapes: Vec<String> =
            operands.iter().map(|value| format!("{:?}", value.dims())).collect();
        fault(format!("{reason} (the shapes are {})", shapes.join(" and ")))
    })?;
    let result: Vec<usize> = output.iter().map(|&label| sizes.get(label)).collect();
    dims::check_size(&result)?;
    while terms.len() > 1 {
        let (i, j) = cheapest(&terms, &sizes);
        let (b, a) = (terms.remove(j), terms.remove(i));
        let needed = |label: Label| {
            output.contains(&label) || terms.iter().any(|t| t.labels.contains(&label))
        };
        let product = a.times(b, needed)?;
        terms.push(product);
    }
    let Some(last) = terms.pop() else { return Err(fault("it needs at least one tensor".into())) };
    let summed = last.keeping(|label| output.contains(&label))?;
    let out = summed.in_order(&output)?;
    dtype::cast(&out.map(|t| t.broadcast_as(result.as_slice())?.contiguous())?, kind)
}

/// The size of each label; 1 only if it is 1 in every term.
struct Sizes<'e>(Vec<(Label<'e>, usize)>);

impl<'e> Sizes<'e> {
    /// # Errors
    /// A label has two sizes, neither of which is 1.
    fn of(terms: &[Term<'e>]) -> Result<Self, String> {
        let mut sizes: Vec<(Label<'e>, usize)> = Vec::new();
        for term in terms {
            for (&label, &size) in term.labels.iter().zip(term.value.dims()) {
                match sizes.iter_mut().find(|(known, _)| *known == label) {
                    None => sizes.push((label, size)),
                    Some((_, known)) if *known == 1 => *known = size,
                    Some((_, known)) if size == 1 || *known == size => {}
                    Some((_, known)) => {
                        return Err(match label {
                            Label::Named(name) => format!("{name} is both {known} and {size}"),
                            Label::Unnamed(_) => {
                                format!("the dims of ... do not broadcast: {known} against {size}")
                            }
                        });
                    }
                }
            }
        }
        Ok(Sizes(sizes))
    }

    fn get(&self, label: Label) -> usize {
        self.0.iter().find(|(known, _)| *known == label).map_or(1, |(_, size)| *size)
    }
}

/// The pair of terms whose product needs the fewest multiplications.
fn cheapest(terms: &[Term], sizes: &Sizes) -> (usize, usize) {
    let cost = |(i, j): &(usize, usize)| {
        let (a, b) = (&terms[*i].labels, &terms[*j].labels);
        let union = a.iter().chain(b.iter().filter(|l| !a.contains(l)));
        union.fold(1u128, |cost, &label| cost.saturating_mul(sizes.get(label) as u128))
    };
    let pairs = (0..terms.len()).flat_map(|i| (i + 1..terms.len()).map(move |j| (i, j)));
    pairs.min_by_key(cost).unwrap_or((0, 1))
}

impl<'e> Term<'e> {
    /// A term for a tensor with the given labels. For a label that occurs twice, the two dims are
    /// replaced by their diagonal.
    ///
    /// # Errors
    /// The sizes of two such dims differ.
    fn new(mut value: Value, mut labels: Vec<Label<'e>>) -> Result<Self> {
        while let Some((i, j)) = repeated(&labels) {
            let (rows, columns) = (value.dims()[i], value.dims()[j]);
            if rows != columns {
                return Err(error!(
                    "a dim named twice is a diagonal, and {rows} and {columns} differ"
                ));
            }
            let mut order: Vec<usize> = (0..labels.len()).filter(|k| *k != i && *k != j).collect();
            order.extend([i, j]);
            let square = value.map(|t| t.permute(order.as_slice()))?;
            let flat = view::flatten(&square, -2, -1)?;
            let diagonal = (0..rows).map(|k| (k * (rows + 1)) as i64).collect();
            value = select::slices(&flat, flat.rank() - 1, diagonal)?;
            let label = labels[i];
            labels = order[..order.len() - 2].iter().map(|&k| labels[k]).collect();
            labels.push(label);
        }
        Ok(Term { value, labels })
    }

    /// The value with its dims in the order of `labels`, and dims of size 1 for those that it
    /// lacks.
    fn in_order(&self, labels: &[Label]) -> Result<Value> {
        let have: Vec<usize> = labels.iter().filter_map(|label| self.place(*label)).collect();
        let sizes: Vec<usize> = labels
            .iter()
            .map(|label| self.place(*label).map_or(1, |i| self.value.dims()[i]))
            .collect();
        let permuted = if have.is_empty() {
            self.value.clone()
        } else {
            self.value.map(|t| t.permute(have.as_slice()))?
        };
        permuted.map(|t| t.reshape(sizes.as_slice()))
    }

    /// The dim with the given label.
    fn place(&self, label: Label) -> Option<usize> {
        self.labels.iter().position(|l| *l == label)
    }

    /// The sizes of the dims with the given labels.
    fn size(&self, labels: &[Label]) -> Vec<usize> {
        labels.iter().filter_map(|label| self.place(*label)).map(|i| self.value.dims()[i]).collect()
    }

    /// The sum over the labels for which `keep` is false.
    fn keeping(self, keep: impl Fn(Label) -> bool) -> Result<Self> {
        let (kept, summed): (Vec<Label>, Vec<Label>) =
            self.labels.iter().partition(|label| keep(**label));
        if summed.is_empty() {
            return Ok(self);
        }
        let dims: Vec<i64> =
            summed.iter().filter_map(|label| self.place(*label)).map(|i| i as i64).collect();
        let sum = sums::sum(&self.value, Over { dims: Some(&dims), keepdim: false })?;
        Ok(Term { value: dtype::cast(&sum, Kind::of(&self.value))?, labels: kept })
    }

    /// Drops the dims of size 1 whose label has another size in `other`.
    fn yielding_to(self, other: &Term) -> Result<Self> {
        let yields = |(i, label): (usize, &Label)| {
            self.value.dims()[i] == 1
                && other.place(*label).is_some_and(|j| other.value.dims()[j] != 1)
        };
        let labels: Vec<Label> = self
            .labels
            .iter()
            .enumerate()
            .filter(|&(i, l)| !yields((i, l)))
            .map(|(_, l)| *l)
            .collect();
        let sizes = self.size(&labels);
        Ok(Term { value: self.value.map(|t| t.reshape(sizes.as_slice()))?, labels })
    }

    /// The product with `other`, summed over the labels for which `needed` is false.
    fn times(self, other: Term<'e>, needed: impl Fn(Label) -> bool) -> Result<Self> {
        let a = self.yielding_to(&other)?;
        let b = other.yielding_to(&a)?;
        let a_labels = a.labels.clone();
        let a = a.keeping(|label| needed(label) || b.labels.contains(&label))?;
        let b = b.keeping(|label| needed(label) || a_labels.contains(&label))?;
        let (shared, a_only): (Vec<Label>, Vec<Label>) =
            a.labels.iter().partition(|label| b.labels.contains(label));
        let b_only: Vec<Label> =
            b.labels.iter().copied().filter(|label| !shared.contains(label)).collect();
        let (batch, summed): (Vec<Label>, Vec<Label>) =
            shared.into_iter().partition(|label| needed(*label));
        if summed.is_empty() || (a_only.is_empty() && b_only.is_empty()) {
            let labels = [batch, summed, a_only, b_only].concat();
            let value = Arithmetic::Mul.apply(&a.in_order(&labels)?, &b.in_order(&labels)?)?;
            return Term { value, labels }.keeping(needed);
        }
        let size = |term: &Term, labels: &[Label]| term.size(labels).iter().product::<usize>();
        let (count, width) = (size(&a, &batch), size(&a, &summed));
        let left = a.in_order(&[batch.clone(), a_only.clone(), summed.clone()].concat())?;
        let left = left.map(|t| t.reshape((count, size(&a, &a_only), width)))?;
        // Row-major if that needs no copy, else column-major, which may need none either.
        let right = b.in_order(&[batch.clone(), summed.clone(), b_only.clone()].concat())?;
        let right = match right.parts().iter().all(|t| t.is_contiguous()) {
            true => right.map(|t| t.reshape((count, width, size(&b, &b_only))))?,
            false => {
                let right = b.in_order(&[batch.clone(), b_only.clone(), summed].concat())?;
                right.map(|t| t.reshape((count, size(&b, &b_only), width))?.transpose(1, 2))?
            }
        };
        let sizes = [a.size(&batch), a.size(&a_only), b.size(&b_only)].concat();
        let value = matmul(&left, &right)?.map(|t| t.reshape(sizes.as_slice()))?;
        Ok(Term { value, labels: [batch, a_only, b_only].concat() })
    }
}

/// Two dims with the same label, if there are any.
fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len())
        .find_map(|i| (i + 1..labels.len()).find(|&j| labels[i] == labels[j]).map(|j| (i, j)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::linalg::testing::numbers;
    use crate::tensor::{Number, creation, elements};

    fn iota(dims: &[usize], kind: Kind) -> Value {
        let numbers: Vec<Number> =
            (0..dims.iter().product::<usize>() as i64).map(|i| Number::Int(i * 7 % 5)).collect();
        creation::from_numbers(&numbers, dims, Some(kind), &Device::Cpu).unwrap()
    }

    /// By nested loops over every letter; `equation` has `->`, no ellipsis and no dim of size 1
    /// beside a larger one.
    fn by_loops(equation: &str, operands: &[Value]) -> (Vec<usize>, Vec<f64>) {
        let (left, right) = equation.split_once("->").unwrap();
        let mut letters: Vec<(char, usize)> = Vec::new();
        for (term, value) in left.split(',').zip(operands) {
            for (letter, &size) in term.chars().zip(value.dims()) {
                if !letters.iter().any(|(known, _)| *known == letter) {
                    letters.push((letter, size));
                }
            }
        }
        let size = |letter: char| letters.iter().find(|(known, _)| *known == letter).unwrap().1;
        let offset = |term: &str, places: &[usize]| {
            term.chars().fold(0, |offset, letter| {
                let i = letters.iter().position(|(known, _)| *known == letter).unwrap();
                offset * size(letter) + places[i]
            })
        };
        let elements: Vec<Vec<f64>> = operands.iter().map(numbers).collect();
        let shape: Vec<usize> = right.chars().map(size).collect();
        let mut out = vec![0.0; shape.iter().product()];
        let sizes: Vec<usize> = letters.iter().map(|(_, size)| *size).collect();
        let strides = dims::strides(&sizes);
        for flat in 0..sizes.iter().product::<usize>() {
            let places: Vec<usize> =
                strides.iter().zip(&sizes).map(|(stride, size)| flat / stride % size).collect();
            let terms = left.split(',').zip(&elements);
            out[offset(right, &places)] +=
                terms.map(|(term, x)| x[offset(term, &places)]).product::<f64>();
        }
        (shape, out)
    }

    #[test]
    fn every_equation_agrees_with_nested_loops() {
        let cases: [(&str, &[&[usize]]); 18] = [
            ("bhnm,bhmc->bhnc", &[&[2, 3, 4, 5], &[2, 3, 5, 6]]),
            ("bnd,hdc->bhnc", &[&[2, 3, 4], &[5, 4, 2]]),
            ("bhnc,hcd->bnd", &[&[2, 3, 4, 5], &[3, 5, 2]]),
            ("bhnm,nm->bhn", &[&[2, 3, 4, 5], &[4, 5]]),
            ("bnd,bnd->bn", &[&[2, 3, 4], &[2, 3, 4]]),
            ("i,i->", &[&[4], &[4]]),
            ("i,j->ji", &[&[4], &[3]]),
            ("ij->ji", &[&[4, 3]]),
            ("ij->", &[&[4, 3]]),
            ("ijk->j", &[&[4, 3, 2]]),
            ("ii->i", &[&[4, 4]]),
            ("ii->", &[&[4, 4]]),
            ("iji->j", &[&[4, 3, 4]]),
            ("iij,jk->ik", &[&[3, 3, 2], &[2, 4]]),
            ("ij,ij->ij", &[&[3, 2], &[3, 2]]),
            ("ab,bc,cd->ad", &[&[2, 3], &[3, 4], &[4, 5]]),
            ("a,b,ab->", &[&[2], &[3], &[2, 3]]),
            ("ab,a,ac,bc->cb", &[&[2, 3], &[2], &[2, 4], &[3, 4]]),
        ];
        for (equation, dims) in cases {
            for kind in [Kind::F32, Kind::F64, Kind::BF16, Kind::I64] {
                let operands: Vec<Value> = dims.iter().map(|dims| iota(dims, kind)).collect();
                let out = einsum(equation, &operands.iter().collect::<Vec<_>>()).unwrap();
                let (shape, expected) = by_loops(equation, &operands);
                assert_eq!((out.dims(), Kind::of(&out)), (shape.as_slice(), kind), "{equation}");
                let rounded =
                    Value::Real(elements::from_vec(expected, &shape, &Device::Cpu).unwrap());
                assert_eq!(
                    numbers(&out),
                    numbers(&dtype::cast(&rounded, kind).unwrap()),
                    "{equation} {kind:?}"
                );
            }
        }
    }

    #[test]
    fn short_forms_mean_their_long_ones() {
        let same = |short: &str, long: &str, dims: &[&[usize]]| {
            let operands: Vec<Value> = dims.iter().map(|dims| iota(dims, Kind::F64)).collect();
            let operands: Vec<&Value> = operands.iter().collect();
            let (a, b) = (einsum(short, &operands).unwrap(), einsum(long, &operands).unwrap());
            assert_eq!((a.dims(), numbers(&a)), (b.dims(), numbers(&b)), "{short}");
        };
        same("ij,jk", "ij,jk->ik", &[&[2, 3], &[3, 4]]);
        same("ba", "ba->ab", &[&[2, 3]]);
        same("ii", "ii->", &[&[3, 3]]);
        same(" i j , j k -> i k ", "ij,jk->ik", &[&[2, 3], &[3, 4]]);
        same("...ij,...jk->...ik", "abij,abjk->abik", &[&[5, 2, 2, 3], &[5, 2, 3, 4]]);
        same("...ij,jk", "abij,jk->abik", &[&[5, 2, 2, 3], &[3, 4]]);
        same("...ij,...jk->...ik", "aij,jk->aik", &[&[5, 2, 3], &[3, 4]]);
        same("i...->...", "iab->ab", &[&[5, 2, 3]]);
        same("...->", "ab->", &[&[5, 2]]);
        same("...i,...i->...", "abi,bi->ab", &[&[4, 5, 2], &[5, 2]]);
    }

    #[test]
    fn dims_of_size_one_widen_and_single_numbers_multiply() {
        let (a, b) = (iota(&[2, 1], Kind::F64), iota(&[3, 4], Kind::F64));
        let out = einsum("ij,jk->ik", &[&a, &b]).unwrap();
        let wide = a.map(|t| t.broadcast_as((2, 3))).unwrap();
        assert_eq!(numbers(&out), numbers(&matmul(&wide, &b).unwrap()));
        let three = creation::from_numbers(&[Number::Int(3)], &[], None, &Device::Cpu).unwrap();
        let out = einsum(",ij->ji", &[&three, &b]).unwrap();
        assert_eq!((out.dims(), Kind::of(&out)), ([4, 3].as_slice(), Kind::F64));
        assert_eq!(numbers(&out)[1], 3.0 * numbers(&b)[4]);
        let empty =
            einsum("ij,jk->ik", &[&iota(&[2, 0], Kind::F32), &iota(&[0, 3], Kind::F32)]).unwrap();
        assert_eq!(numbers(&empty), [0.0; 6]);
    }

    #[test]
    fn faults_are_sentences() {
        let (a, b) = (iota(&[2, 3], Kind::F32), iota(&[4, 5], Kind::F32));
        let message =
            |equation: &str| einsum(equation, &[&a, &b]).unwrap_err().message().to_owned();
        assert_eq!(
            message("ij,jk->ik"),
            "einsum \"ij,jk->ik\": j is both 3 and 4 (the shapes are [2, 3] and [4, 5])"
        );
        assert_eq!(message("ij->ij"), "einsum \"ij->ij\": it names 1 tensors, and 2 came");
        assert_eq!(
            message("ijk,kl"),
            "einsum \"ijk,kl\": \"ijk\" names 3 dims, and its tensor [2, 3] has 2"
        );
        assert_eq!(
            message("ij,kl->iz"),
            "einsum \"ij,kl->iz\": z is in the result and in no tensor"
        );
        assert_eq!(message("ij,kl->ii"), "einsum \"ij,kl->ii\": i is in the result twice");
        assert!(message("ij,......->i").contains("'.' is no letter"));
        assert_eq!(
            message("ii,kl->i"),
            "einsum: a dim named twice is a diagonal, and 2 and 3 differ"
        );
        assert!(einsum("", &[]).is_err());
    }
}
