//! Beside candle's own operations, bit by bit, over dtypes, strides and broadcast shapes.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::{Binary, abs, affine, neg, recip, sqr};

/// As integers, so that NaN and the sign of 0 count.
fn bits(x: Result<Tensor>) -> (Vec<usize>, Vec<u64>) {
    let x = x.unwrap();
    let wide = x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    (x.dims().to_vec(), wide.into_iter().map(f64::to_bits).collect())
}

fn random(dims: &[usize], dtype: DType) -> Tensor {
    let x = Tensor::randn(0f32, 3.0, dims, &Device::Cpu).unwrap();
    let x = if dtype.is_float() { x } else { x.abs().unwrap() };
    x.to_dtype(dtype).unwrap()
}

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];

#[test]
fn pairs_are_candles() {
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[3, 5], &[3, 5]),
        (&[130, 130], &[]),
        (&[], &[2, 3]),
        (&[40, 1, 33], &[20, 33]),
        (&[40, 20, 33], &[40, 1, 1]),
        (&[7, 1], &[1, 9]),
        (&[0, 4], &[4]),
        (&[1, 1], &[1]),
    ];
    for dtype in FLOATS.into_iter().chain([DType::I64, DType::U32, DType::U8]) {
        for (a, b) in shapes {
            let (a, b) = (random(a, dtype), random(b, dtype));
            assert_eq!(bits(Binary::Add.apply(&a, &b)), bits(a.broadcast_add(&b)));
            assert_eq!(bits(Binary::Mul.apply(&a, &b)), bits(a.broadcast_mul(&b)));
            if dtype.is_float() {
                assert_eq!(bits(Binary::Sub.apply(&a, &b)), bits(a.broadcast_sub(&b)));
                assert_eq!(bits(Binary::Div.apply(&a, &b)), bits(a.broadcast_div(&b)));
            }
        }
        let x = random(&[60, 70, 5], dtype);
        let (turned, part) = (x.transpose(0, 2).unwrap(), x.narrow(1, 3, 60).unwrap());
        let other = random(&[5, 70, 60], dtype);
        assert_eq!(bits(Binary::Add.apply(&turned, &other)), bits(&turned + &other));
        assert_eq!(
            bits(Binary::Mul.apply(&part, &part.t().unwrap().t().unwrap())),
            bits(&part * &part)
        );
    }
    let most = Tensor::new(&[i64::MAX], &Device::Cpu).unwrap();
    assert_eq!(Binary::Add.apply(&most, &most).unwrap().to_vec1::<i64>().unwrap(), [-2]);
    assert!(Binary::Add.apply(&random(&[2], DType::F32), &random(&[3], DType::F32)).is_err());
    assert!(Binary::Add.apply(&random(&[2], DType::F32), &random(&[2], DType::F64)).is_err());
}

#[test]
fn functions_are_candles() {
    for dtype in FLOATS {
        let edges = Tensor::new(&[0f32, -0.0, f32::INFINITY, -1.5], &Device::Cpu).unwrap();
        for x in [edges.to_dtype(dtype).unwrap(), random(&[300, 90], dtype).t().unwrap()] {
            assert_eq!(bits(neg(&x)), bits(x.neg()));
            assert_eq!(bits(abs(&x)), bits(x.abs()));
            assert_eq!(bits(sqr(&x)), bits(x.sqr()));
            assert_eq!(bits(recip(&x)), bits(x.recip()));
            assert_eq!(bits(affine(&x, 0.9, -1.5)), bits(x.affine(0.9, -1.5)));
        }
    }
}

#[test]
fn gradients_are_candles() {
    let a = Var::from_tensor(&random(&[4, 1, 3], DType::F64)).unwrap();
    let b = Var::from_tensor(&random(&[5, 3], DType::F64)).unwrap();
    let weight = random(&[4, 5, 3], DType::F64);
    let gradients = |y: Tensor| {
        let store =
            crate::differentiable::backward(&(y * &weight).unwrap().sum_all().unwrap()).unwrap();
        [&a, &b].map(|v| store.get(v).map(|g| g.flatten_all().unwrap().to_vec1::<f64>().unwrap()))
    };
    let near = |got: [Option<Vec<f64>>; 2], expected: [Option<Vec<f64>>; 2]| {
        for (got, expected) in got.into_iter().zip(expected) {
            let (got, expected) = (got.unwrap_or_default(), expected.unwrap_or_default());
            assert_eq!(got.len(), expected.len());
            assert!(
                got.iter().zip(&expected).all(|(x, y)| (x - y).abs() <= 1e-9 * y.abs().max(1.0))
            );
        }
    };
    let (x, y) = (a.as_tensor(), b.as_tensor());
    near(gradients(Binary::Add.apply(x, y).unwrap()), gradients(x.broadcast_add(y).unwrap()));
    near(gradients(Binary::Sub.apply(x, y).unwrap()), gradients(x.broadcast_sub(y).unwrap()));
    near(gradients(Binary::Mul.apply(x, y).unwrap()), gradients(x.broadcast_mul(y).unwrap()));
    near(gradients(Binary::Div.apply(x, y).unwrap()), gradients(x.broadcast_div(y).unwrap()));
    let wide = |y: Result<Tensor>| y.unwrap().broadcast_as((4, 5, 3)).unwrap();
    near(gradients(wide(neg(x))), gradients(wide(x.neg())));
    near(gradients(wide(abs(x))), gradients(wide(x.abs())));
    near(gradients(wide(sqr(x))), gradients(wide(x.sqr())));
    near(gradients(wide(recip(x))), gradients(wide(x.recip())));
    near(gradients(wide(affine(x, 3.0, 1.0))), gradients(wide(x.affine(3.0, 1.0))));
}
