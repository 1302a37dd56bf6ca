//! Compares every reduction with a loop in f64, over all subsets of the dims of contiguous and of
//! strided tensors.

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::by_candle;
use super::count::{all, any, count_nonzero};
use super::extremes::{argmax, argmin, max, min};
use super::over::Over;
use super::statistics::{median, quantile, std, var};
use super::sums::{logsumexp, mean, norm, prod, sum};
use crate::Result;
use crate::tensor::{Kind, Value, creation, dtype, elements, random};

/// Shapes for every code path of the fold: rows, columns, both in several pieces, separate groups
/// of dims.
const SHAPES: [&[usize]; 10] = [
    &[],
    &[5],
    &[3, 1, 4],
    &[2, 3, 4, 5],
    &[700, 3],
    &[3, 1100],
    &[2, 130, 600],
    &[70, 5, 70],
    &[66000, 1],
    &[2, 40000],
];

fn noise(shape: &[usize]) -> Tensor {
    let mut rng = StdRng::seed_from_u64(shape.iter().sum::<usize>() as u64);
    let value = random::randn(shape, Kind::F32, &Device::Cpu, &mut rng).unwrap();
    value.real("test").unwrap().clone()
}

/// For each element of the result, the elements that are reduced to it.
fn cells(x: &Tensor, dims: &[usize]) -> Vec<Vec<f64>> {
    let kept: Vec<usize> = (0..x.rank()).filter(|i| !dims.contains(i)).collect();
    let size = |dims: &[usize]| dims.iter().fold(1, |n, &i| n * x.dims()[i]);
    let mut cells = vec![Vec::new(); size(&kept)];
    for (flat, x_i) in
        elements::to_vec::<f64>(&x.to_dtype(DType::F64).unwrap()).unwrap().into_iter().enumerate()
    {
        let (mut rest, mut at, mut step) = (flat, 0, 1);
        for i in (0..x.rank()).rev() {
            if kept.contains(&i) {
                at += rest % x.dims()[i] * step;
                step *= x.dims()[i];
            }
            rest /= x.dims()[i];
        }
        cells[at].push(x_i);
    }
    cells
}

fn numbers(value: &Value) -> Vec<f64> {
    creation::to_numbers(value).unwrap().into_iter().map(|n| n.to_f64()).collect()
}

fn close(a: f64, b: f64) -> bool {
    near(a, b, 1.0)
}

/// Equal up to the rounding of f32 for numbers up to `size`.
fn near(a: f64, b: f64, size: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 2e-6 * b.abs().max(size)
}

fn subsets(rank: usize) -> impl Iterator<Item = Vec<i64>> {
    (1..1usize << rank).map(move |bits| (0..rank as i64).filter(|i| bits >> i & 1 == 1).collect())
}

fn mean_of(xs: &[f64]) -> f64 {
    xs.iter().sum::<f64>() / xs.len() as f64
}

fn var_of(xs: &[f64]) -> f64 {
    let mean = mean_of(xs);
    xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (xs.len() as f64 - 1.0)
}

fn sorted(xs: &[f64]) -> Vec<f64> {
    let mut xs = xs.to_vec();
    xs.sort_by(f64::total_cmp);
    xs
}

#[test]
fn agrees_with_loops_over_any_dims() {
    type Reduce = fn(&Value, Over) -> Result<Value>;
    type Loop = fn(&[f64]) -> f64;
    let cases: [(&str, Reduce, Loop); 16] = [
        ("sum", sum, |xs| xs.iter().sum()),
        ("mean", mean, mean_of),
        ("prod", prod, |xs| xs.iter().product::<f64>() as f32 as f64),
        ("max", max, |xs| xs.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        ("min", min, |xs| xs.iter().copied().fold(f64::INFINITY, f64::min)),
        ("count_nonzero", count_nonzero, |xs| xs.len() as f64),
        ("any", any, |_| 1.0),
        ("all", all, |_| 1.0),
        ("logsumexp", logsumexp, |xs| xs.iter().map(|x| x.exp()).sum::<f64>().ln()),
        ("norm", |x, over| norm(x, 2.0, over), |xs| xs.iter().map(|x| x * x).sum::<f64>().sqrt()),
        ("norm 1", |x, over| norm(x, 1.0, over), |xs| xs.iter().map(|x| x.abs()).sum()),
        (
            "norm 3",
            |x, over| norm(x, 3.0, over),
            |xs| xs.iter().map(|x| x.abs().powi(3)).sum::<f64>().cbrt(),
        ),
        ("var", |x, over| var(x, 1.0, over), var_of),
        ("std", |x, over| std(x, 1.0, over), |xs| var_of(xs).sqrt()),
        ("median", median, |xs| sorted(xs)[(xs.len() - 1) / 2]),
        (
            "quantile",
            |x, over| quantile(x, &[0.3], false, over),
            |xs| {
                let (xs, at) = (sorted(xs), 0.3 * (xs.len() - 1) as f64);
                let below = xs[at.floor() as usize];
                below + at.fract() * (xs[at.ceil() as usize] - below)
            },
        ),
    ];
    for shape in SHAPES {
        let straight = noise(shape);
        let strided = straight.permute((0..shape.len()).rev().collect::<Vec<_>>()).unwrap();
        for (x, dims) in [straight, strided].iter().flat_map(|x| {
            let all = (0..shape.len() as i64).collect();
            subsets(shape.len()).chain(shape.is_empty().then_some(all)).map(move |dims| (x, dims))
        }) {
            let resolved: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
            let cells = cells(x, &resolved);
            let value = Value::Real(x.clone());
            let over = Over { dims: Some(&dims), keepdim: false };
            for (name, reduce, by_loop) in cases {
                let got = numbers(&reduce(&value, over).unwrap());
                assert_eq!(got.len(), cells.len());
                for (got, cell) in got.into_iter().zip(&cells) {
                    let expected = by_loop(cell);
                    // Terms of opposite sign cancel, but their rounding errors do not.
                    let size = if name == "sum" { cell.len() as f64 } else { 1.0 };
                    assert!(
                        near(got, expected, size.sqrt()),
                        "{name} of {:?} over {dims:?}: {got}, not {expected}",
                        x.dims()
                    );
                }
            }
        }
    }
}

#[test]
fn arg_extremes_are_the_first_of_several() {
    for shape in SHAPES.iter().filter(|shape| !shape.is_empty()) {
        let x = (noise(shape) * 2.0).unwrap().round().unwrap();
        for dim in 0..shape.len() {
            let over = [dim as i64];
            let over = Over { dims: Some(&over), keepdim: false };
            let (most, least) = (
                argmax(&x.clone().into(), over).unwrap(),
                argmin(&x.clone().into(), over).unwrap(),
            );
            for ((cell, most), least) in
                cells(&x, &[dim]).iter().zip(numbers(&most)).zip(numbers(&least))
            {
                let extremes = sorted(cell);
                let first = |x: f64| cell.iter().position(|&y| y == x).unwrap() as f64;
                assert_eq!(
                    (most, least),
                    (first(extremes[extremes.len() - 1]), first(extremes[0]))
                );
            }
        }
    }
    let mut long = vec![1f32; 2000];
    (long[700], long[1500], long[1600]) = (f32::INFINITY, f32::NAN, f32::NAN);
    for (count, first) in [(700, 0.0), (1400, 700.0), (2000, 1500.0)] {
        let x = Value::Real(Tensor::new(&long[..count], &Device::Cpu).unwrap());
        assert_eq!(numbers(&argmax(&x, Over::default()).unwrap()), [first]);
    }
    let x = Value::Real(Tensor::new(&[[1f32, f32::NAN], [7., f32::NAN]], &Device::Cpu).unwrap());
    assert_eq!(numbers(&argmax(&x, Over::default()).unwrap()), [1.0]);
    assert_eq!(numbers(&argmin(&x, Over { dims: Some(&[0]), keepdim: true }).unwrap()), [0.0, 0.0]);
}

#[test]
fn candles_kernels_agree_with_the_folds() {
    let x = noise(&[3, 5, 7]);
    let holes = Tensor::new(
        &[[1f32, f32::NAN, 3.], [f32::NEG_INFINITY; 3], [f32::INFINITY, 2., 1.]],
        &Device::Cpu,
    )
    .unwrap();
    type There = fn(&Tensor, &[usize]) -> candle_core::Result<Tensor>;
    type Here = fn(&Value, Over) -> Result<Value>;
    let cases: [(&str, There, Here); 10] = [
        ("argmax", |x, dims| by_candle::first_place(x, dims[0], true), argmax),
        ("argmin", |x, dims| by_candle::first_place(x, dims[0], false), argmin),
        ("count_nonzero", by_candle::count_nonzero, count_nonzero),
        ("max", |x, dims| by_candle::extreme(x, dims, true), max),
        ("min", |x, dims| by_candle::extreme(x, dims, false), min),
        ("logsumexp", by_candle::logsumexp, logsumexp),
        ("norm", |x, dims| by_candle::norm(x, dims, 2.0), |x, over| norm(x, 2.0, over)),
        ("norm 0", |x, dims| by_candle::norm(x, dims, 0.0), |x, over| norm(x, 0.0, over)),
        ("norm 3", |x, dims| by_candle::norm(x, dims, 3.0), |x, over| norm(x, 3.0, over)),
        ("var", |x, dims| by_candle::variance(x, dims, 4.0), |x, over| var(x, 1.0, over)),
    ];
    for (name, there, here) in cases {
        let over = Over { dims: Some(&[1]), keepdim: true };
        for x in [&x, &holes] {
            if name == "var" && x.dims()[1] != 5 {
                continue;
            }
            let (a, b) = (
                numbers(&there(x, &[1]).unwrap().into()),
                numbers(&here(&x.clone().into(), over).unwrap()),
            );
            assert!(a.iter().zip(&b).all(|(&a, &b)| close(a, b)), "{name}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn what_is_not_zero_is_found_and_counted() {
    for shape in SHAPES {
        // Most elements are 0, and one is NaN.
        let elements = noise(shape).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let sparse =
            elements.iter().enumerate().map(|(i, &x)| if i == 1 { f32::NAN } else { x.trunc() });
        let x = elements::from_vec(sparse.collect(), shape, &Device::Cpu).unwrap();
        for dims in subsets(shape.len()) {
            let over = Over { dims: Some(&dims), keepdim: false };
            let resolved: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
            let counts: Vec<usize> = cells(&x, &resolved)
                .iter()
                .map(|cell| cell.iter().filter(|&&x| x != 0.0).count())
                .collect();
            let sizes = x.elem_count() / counts.len();
            for kind in [Kind::F32, Kind::BF16, Kind::Bool] {
                let value = dtype::cast(&x.clone().into(), kind).unwrap();
                let of = |reduce: fn(&Value, Over) -> Result<Value>| {
                    numbers(&reduce(&value, over).unwrap())
                };
                let (found, every, counted) = (of(any), of(all), of(count_nonzero));
                for (i, &count) in counts.iter().enumerate() {
                    let truth = |truth: bool| f64::from(u8::from(truth));
                    assert_eq!(
                        (found[i], every[i], counted[i]),
                        (truth(count > 0), truth(count == sizes), count as f64),
                        "{shape:?} {dims:?} {kind:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_single_number_is_reduced_over_dim_0() {
    let three = Value::Real(Tensor::new(3f32, &Device::Cpu).unwrap());
    for dim in [0, -1] {
        let over = [dim];
        let over = Over { dims: Some(&over), keepdim: true };
        for (reduce, expected) in
            [(sum as fn(&Value, Over) -> Result<Value>, 3.0), (argmax, 0.0), (median, 3.0)]
        {
            let out = reduce(&three, over).unwrap();
            assert_eq!((out.rank(), numbers(&out)), (0, vec![expected]));
        }
    }
    assert!(
        message(sum(&three, Over { dims: Some(&[1]), keepdim: false }))
            .starts_with("dim 1 is out of range")
    );
}

fn message(result: Result<Value>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn dtypes_are_pytorchs() {
    let ints = Value::Real(Tensor::new(&[200u8, 100, 3], &Device::Cpu).unwrap());
    let over = Over::default();
    assert_eq!(
        (sum(&ints, over).unwrap().dtype_name(), numbers(&sum(&ints, over).unwrap())),
        ("i64", vec![303.0])
    );
    assert_eq!(numbers(&prod(&ints, over).unwrap()), [60000.0]);
    assert_eq!(max(&ints, over).unwrap().dtype_name(), "u8");
    let bools = dtype::cast(&ints, Kind::Bool).unwrap();
    assert_eq!(
        (sum(&bools, over).unwrap().dtype_name(), max(&bools, over).unwrap().dtype_name()),
        ("i64", "bool")
    );
    assert_eq!(any(&ints, over).unwrap().dtype_name(), "bool");
    assert_eq!(
        message(mean(&ints, over)),
        "mean needs a float tensor, not u8\n  help: convert it first, with .to(\"f32\")"
    );

    let wave = dtype::cast(
        &Value::Real(Tensor::new(&[[1f32, 2.], [3., 5.]], &Device::Cpu).unwrap()),
        Kind::C64,
    )
    .unwrap();
    assert_eq!(sum(&wave, Over { dims: Some(&[0]), keepdim: false }).unwrap().dtype_name(), "c64");
    assert_eq!(numbers(&mean(&wave, over).unwrap().parts()[0].clone().into()), [2.75]);
    assert!(
        message(max(&wave, over)).starts_with("max needs a real tensor, and this one is complex")
    );

    // f16 can represent neither 2049 nor numbers above 65504.
    let halves = Value::Real(Tensor::ones(5000, DType::F16, &Device::Cpu).unwrap());
    assert_eq!(numbers(&mean(&halves, over).unwrap()), [1.0]);
    assert_eq!(
        (sum(&halves, over).unwrap().dtype_name(), numbers(&sum(&halves, over).unwrap())),
        ("f16", vec![5000.0])
    );
}

#[test]
fn of_no_elements_as_pytorch() {
    let none = Value::Real(Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap());
    let over = Over::default();
    assert_eq!(numbers(&sum(&none, over).unwrap()), [0.0]);
    assert_eq!(numbers(&prod(&none, Over { dims: Some(&[0]), keepdim: false }).unwrap()), [1.0; 3]);
    assert!(numbers(&mean(&none, over).unwrap())[0].is_nan());
    assert!(numbers(&var(&none, 1.0, over).unwrap())[0].is_nan());
    assert_eq!(numbers(&logsumexp(&none, over).unwrap()), [f64::NEG_INFINITY]);
    assert_eq!(
        (numbers(&any(&none, over).unwrap()), numbers(&all(&none, over).unwrap())),
        (vec![0.0], vec![1.0])
    );
    assert_eq!(max(&none, Over { dims: Some(&[1]), keepdim: true }).unwrap().dims(), [0, 1]);
    assert_eq!(
        message(max(&none, over)),
        "max of no elements is undefined, and dims [0, 1] of a tensor [0, 3] have none"
    );
    assert!(message(argmin(&none, over)).starts_with("argmin of no elements is undefined"));
}

#[test]
fn nan_and_infinity_show() {
    let x = Value::Real(Tensor::new(&[1f32, f32::NAN, 3.], &Device::Cpu).unwrap());
    for reduce in [max, min, sum, logsumexp, median] {
        assert!(numbers(&reduce(&x, Over::default()).unwrap())[0].is_nan());
    }
    let x = Value::Real(
        Tensor::new(&[[f32::NEG_INFINITY; 2], [f32::INFINITY, 1.]], &Device::Cpu).unwrap(),
    );
    let rows = Over { dims: Some(&[1]), keepdim: false };
    assert_eq!(numbers(&logsumexp(&x, rows).unwrap()), [f64::NEG_INFINITY, f64::INFINITY]);
    assert_eq!(numbers(&norm(&x, f64::NEG_INFINITY, rows).unwrap()), [f64::INFINITY, 1.0]);
}

#[test]
fn a_mean_far_from_zero_costs_the_variance_nothing() {
    let x: Vec<f32> = (0..3000).map(|i| 1e4 + (i % 3) as f32).collect();
    for shape in [&[3000, 1][..], &[1, 3000], &[1500, 2]] {
        let x = Value::Real(elements::from_vec(x.clone(), shape, &Device::Cpu).unwrap());
        let spread = numbers(&var(&x, 0.0, Over { dims: Some(&[0, 1]), keepdim: false }).unwrap());
        assert!((spread[0] - 2.0 / 3.0).abs() < 1e-6, "{spread:?}");
    }
    let columns = Value::Real(elements::from_vec(x, &[1500, 2], &Device::Cpu).unwrap());
    let spread = numbers(&var(&columns, 0.0, Over { dims: Some(&[0]), keepdim: false }).unwrap());
    assert!(spread.iter().all(|x| (x - 2.0 / 3.0).abs() < 1e-6), "{spread:?}");
}

#[test]
fn dims_stay_or_go() {
    let x = Value::Real(noise(&[2, 3, 4]));
    let shape = |dims: Option<&[i64]>, keepdim| {
        sum(&x, Over { dims, keepdim }).map(|out| out.dims().to_vec())
    };
    assert_eq!(shape(None, false).unwrap(), [0; 0]);
    assert_eq!(shape(None, true).unwrap(), [1, 1, 1]);
    assert_eq!(shape(Some(&[-1, 0]), false).unwrap(), [3]);
    assert_eq!(shape(Some(&[-1, 0]), true).unwrap(), [1, 3, 1]);
    let wrong = |dims: &[i64]| shape(Some(dims), false).unwrap_err().message().to_owned();
    assert_eq!(
        wrong(&[3]),
        "dim 3 is out of range for a tensor of rank 3 [2, 3, 4]: expected -3..2"
    );
    assert_eq!(wrong(&[0, -3]), "dim 0 is named twice in [0, -3]");
    assert_eq!(
        message(argmax(&x, Over { dims: Some(&[0, 1]), keepdim: false })),
        "argmax is over one dim or all of them, not over [0, 1]\n  help: flatten those dims into one first"
    );
}
