//! Transforms against sums over all elements.

use std::f64::consts::TAU;

use super::*;
use crate::tensor::dtype;

fn noise(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0).collect()
}

fn real(dims: &[usize], kind: Kind) -> Value {
    let value =
        Value::Real(elements::from_vec(noise(dims.iter().product()), dims, &Device::Cpu).unwrap());
    dtype::cast(&value, kind).unwrap()
}

fn complex(dims: &[usize]) -> Value {
    let Value::Real(re) = real(dims, Kind::F64) else { panic!() };
    let im = re.sqr().unwrap().affine(2.0, -0.5).unwrap();
    Value::Complex(Complex { re, im })
}

fn parts(value: &Value) -> (Vec<f64>, Vec<f64>) {
    let part = |t: &Tensor| {
        elements::to_vec::<f64>(&t.to_dtype(candle_core::DType::F64).unwrap()).unwrap()
    };
    match value {
        Value::Complex(c) => (part(&c.re), part(&c.im)),
        Value::Real(t) | Value::Bool(t) => (part(t), vec![0.0; t.elem_count()]),
    }
}

/// The transform along `dim` by its definition.
fn naive(value: &Value, dim: usize, inverse: bool) -> Vec<(f64, f64)> {
    let ((re, im), dims) = (parts(value), value.dims());
    let (n, stride) = (dims[dim], dims::strides(dims)[dim]);
    let sign = if inverse { 1.0 } else { -1.0 };
    let element = |at: usize| {
        let (k, start) = (at / stride % n, at - at / stride % n * stride);
        (0..n).fold((0.0, 0.0), |(x, y), j| {
            let (sin, cos) = (sign * TAU * ((j * k) % n) as f64 / n as f64).sin_cos();
            let (a, b) = (re[start + j * stride], im[start + j * stride]);
            (x + a * cos - b * sin, y + a * sin + b * cos)
        })
    };
    (0..re.len()).map(element).collect()
}

fn assert_close(value: &Value, expected: &[(f64, f64)], tolerance: f64, what: &str) {
    let (re, im) = parts(value);
    assert_eq!(re.len(), expected.len(), "{what}");
    for (i, (x, y)) in expected.iter().enumerate() {
        assert!((re[i] - x).abs() < tolerance && (im[i] - y).abs() < tolerance, "{what} at {i}");
    }
}

#[test]
fn every_length_and_dim_agrees_with_the_definition() {
    for n in 1..=40 {
        for dim in 0..3 {
            let mut dims = vec![2, 3, 2];
            dims[dim] = n;
            let what = format!("{n} along {dim}");
            let signed = dim as i64 - 3;
            for (kind, tolerance) in [(Kind::F64, 1e-11), (Kind::F32, 1e-4)] {
                let x = real(&dims, kind);
                let spectrum = Transform::Fft.apply(&x, signed, None, Norm::Backward).unwrap();
                assert_eq!(Kind::of(&spectrum), kind.to_complex());
                assert_close(&spectrum, &naive(&x, dim, false), tolerance, &what);
                let half = Transform::Rfft.apply(&x, signed, None, Norm::Backward).unwrap();
                let expected = spectrum.map(|t| t.narrow(dim, 0, n / 2 + 1)).unwrap();
                let (re, im) = parts(&expected);
                assert_close(&half, &re.into_iter().zip(im).collect::<Vec<_>>(), tolerance, &what);
                let back =
                    Transform::Irfft.apply(&half, signed, Some(n as i64), Norm::Backward).unwrap();
                assert_eq!((Kind::of(&back), back.dims()), (kind, dims.as_slice()));
                let (re, im) = parts(&x);
                assert_close(&back, &re.into_iter().zip(im).collect::<Vec<_>>(), tolerance, &what);
            }
            let z = complex(&dims);
            let forward = Transform::Fft.apply(&z, signed, None, Norm::Backward).unwrap();
            assert_close(&forward, &naive(&z, dim, false), 1e-11, &what);
            let inverse = Transform::Ifft.apply(&z, signed, None, Norm::Forward).unwrap();
            assert_close(&inverse, &naive(&z, dim, true), 1e-11, &what);
        }
    }
}

#[test]
fn norms_divide_as_their_names_say() {
    let x = complex(&[6]);
    let plain = naive(&x, 0, false);
    for (norm, forward) in [(Norm::Backward, 1.0), (Norm::Ortho, 6f64.sqrt()), (Norm::Forward, 6.0)]
    {
        let scaled: Vec<_> = plain.iter().map(|(re, im)| (re / forward, im / forward)).collect();
        let spectrum = Transform::Fft.apply(&x, 0, None, norm).unwrap();
        assert_close(&spectrum, &scaled, 1e-12, "forward");
        let (re, im) = parts(&x);
        let back = Transform::Ifft.apply(&spectrum, 0, None, norm).unwrap();
        assert_close(&back, &re.into_iter().zip(im).collect::<Vec<_>>(), 1e-12, "back");
    }
    assert_eq!(Norm::parse("orto").unwrap_err().message(), {
        "norm must be \"backward\", \"ortho\" or \"forward\", not \"orto\""
    });
}

#[test]
fn numbers_near_the_largest_do_not_overflow() {
    let x = Value::Real(Tensor::new(&[3e38f32, 0.0, 0.0, 0.0], &Device::Cpu).unwrap());
    for transform in [Transform::Fft, Transform::Rfft] {
        let (re, im) = parts(&transform.apply(&x, 0, None, Norm::Backward).unwrap());
        assert!(
            re.iter().all(|re| (re / 3e38 - 1.0).abs() < 1e-6) && im.iter().all(|im| *im == 0.0),
            "{re:?} {im:?}"
        );
    }
}

#[test]
fn a_length_cuts_or_pads() {
    let x = real(&[2, 5], Kind::F64);
    let Value::Real(t) = &x else { panic!() };
    let cut = Value::Real(t.narrow(1, 0, 3).unwrap());
    let padded = Value::Real(t.pad_with_zeros(1, 0, 3).unwrap());
    for (n, same) in [(3, cut), (8, padded)] {
        let spectrum = Transform::Fft.apply(&x, -1, Some(n), Norm::Backward).unwrap();
        assert_close(&spectrum, &naive(&same, 1, false), 1e-12, "fft");
        let half = Transform::Rfft.apply(&x, -1, Some(n), Norm::Backward).unwrap();
        assert_eq!(half.dims(), [2, n as usize / 2 + 1]);
        let back = Transform::Irfft.apply(&half, -1, Some(n), Norm::Backward).unwrap();
        let (re, im) = parts(&same);
        assert_close(&back, &re.into_iter().zip(im).collect::<Vec<_>>(), 1e-12, "irfft");
    }
    assert_eq!(Transform::Irfft.apply(&x, -1, None, Norm::Backward).unwrap().dims(), [2, 8]);
}

#[test]
fn any_dtype_goes_in_and_faults_are_sentences() {
    for kind in [Kind::Bool, Kind::I64, Kind::F16, Kind::BF16] {
        let x = dtype::cast(&real(&[4], Kind::F32), kind).unwrap();
        assert_eq!(
            Kind::of(&Transform::Fft.apply(&x, 0, None, Norm::Backward).unwrap()),
            Kind::C64
        );
    }
    let message = |transform: Transform, x: &Value, dim, n| {
        transform.apply(x, dim, n, Norm::Backward).unwrap_err().message().to_owned()
    };
    assert_eq!(
        message(Transform::Rfft, &complex(&[4]), 0, None),
        "rfft needs a real tensor, and this one is complex"
    );
    assert_eq!(
        message(Transform::Irfft, &real(&[2, 1], Kind::F32), 1, None),
        "irfft: the length must be at least 1, and along dim 1 of [2, 1] it is 0"
    );
    message(Transform::Fft, &real(&[0], Kind::F32), 0, None);
    message(Transform::Fft, &real(&[4], Kind::F32), 1, None);
    message(Transform::Fft, &real(&[], Kind::F32), -1, None);
    message(Transform::Fft, &real(&[4], Kind::F32), 0, Some(i64::MAX));
    let empty = Transform::Fft.apply(&real(&[0, 4], Kind::F32), -1, None, Norm::Backward).unwrap();
    assert_eq!(empty.dims(), [0, 4]);
}
