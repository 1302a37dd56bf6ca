//! Each operation beside candle's own, on shapes that fit no vector, and the conditions under which
//! an operation is left to candle.

mod gradients;

use candle_core::{D, DType, Device, Result, Tensor, Var};

use crate::activation::Activation;
use crate::attention::{Rule, attention};
use crate::elements::Elements;
use crate::norm::Norm;
use crate::product::{linear, matmul};
use crate::rotary::{Pairs, turn};
use crate::softmax::{log_softmax, masked, pattern, softmax};
use crate::sum::{sum, sum_of_heads};

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
}

#[track_caller]
fn near(got: Result<Tensor>, expected: Result<Tensor>, tolerance: f64) {
    let (got, expected) = (got.unwrap(), expected.unwrap());
    assert_eq!(got.dims(), expected.dims());
    let [got, expected] =
        [got, expected].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    for (at, (got, expected)) in got.into_iter().zip(expected).enumerate() {
        let (got, expected) = (f64::from(got), f64::from(expected));
        let off = (got - expected).abs();
        assert!(off <= tolerance * expected.abs().max(1.0), "{got} for {expected} at {at}");
    }
}

#[test]
fn a_sum() {
    for shape in [(1, 1), (3, 17), (129, 769)] {
        let (a, b) = (random(shape), random(shape));
        near(sum(&a, &b), &a + &b, 0.0);
    }
    let (a, b) = (random((2, 3)), random((3, 2)));
    near(sum(&a.t().unwrap(), &b), &a.t().unwrap() + &b, 0.0);
}

#[test]
fn a_sum_of_heads() {
    for shape in [(1, 1, 1, 1), (2, 3, 5, 7), (2, 12, 40, 500)] {
        let each = random(shape);
        near(sum_of_heads(&each), each.sum(1), 1e-6);
    }
    let turned = random((2, 3, 4)).transpose(1, 2).unwrap();
    near(sum_of_heads(&turned), turned.sum(1), 1e-6);
}

#[test]
fn a_product_with_and_without_a_bias() {
    for (rows, input, out) in [(1, 1, 1), (7, 33, 17), (129, 64, 100)] {
        let (x, bias) = (random((rows, input)), random(out));
        let weight = random((out, input));
        let expected = x.matmul(&weight.t().unwrap());
        near(linear(&x, &weight, None), Ok(expected.as_ref().unwrap().clone()), 1e-5);
        near(linear(&x, &weight, Some(&bias)), expected.unwrap().broadcast_add(&bias), 1e-5);
        // As GPT-2 keeps its weights.
        let turned = random((input, out));
        near(
            linear(&x, &turned.t().unwrap(), Some(&bias)),
            x.matmul(&turned).unwrap().broadcast_add(&bias),
            1e-5,
        );
    }
}

#[test]
fn activations_with_and_without_a_gate() {
    for shape in [(1, 1), (5, 33), (130, 257)] {
        // A gate beyond 1 makes the last digit's error larger too.
        let (x, up) = ((random(shape) * 4.0).unwrap(), random(shape).clamp(-1f32, 1f32).unwrap());
        for (kind, expected) in [
            (Activation::Relu, x.relu()),
            (Activation::Gelu, x.gelu_erf()),
            (Activation::GeluTanh, x.gelu()),
            (Activation::Silu, x.silu()),
            (Activation::Relu2, x.relu().and_then(|x| x.sqr())),
            (
                Activation::QuickGelu,
                (&x * candle_nn::ops::sigmoid(&(&x * 1.702).unwrap()).unwrap()),
            ),
            (
                Activation::Mish,
                &x * ((x.exp().unwrap() + 1.0).unwrap().log().unwrap()).tanh().unwrap(),
            ),
        ] {
            let expected = expected.unwrap();
            near(kind.apply(&x, None), Ok(expected.clone()), 2e-6);
            near(kind.apply(&x, Some(&up)), expected * &up, 2e-6);
        }
    }
}

#[test]
fn norms_also_of_large_means() {
    for (shape, mean) in [((1, 1, 1), 0.0), ((2, 3, 33), 5.0), ((1, 65, 100), 1e4)] {
        let d = shape.2;
        let x = (random(shape) + mean).unwrap();
        // A weight beyond 1 makes the last digit's error larger too.
        let (weight, bias) = (random(d).clamp(-1f32, 1f32).unwrap(), random(d));
        for centred in [true, false] {
            let norm = Norm { centred, eps: 1e-5, weight: Some(&weight), bias: Some(&bias) };
            let wide = x.to_dtype(DType::F64).unwrap();
            let off = if centred {
                wide.mean_keepdim(D::Minus1).unwrap()
            } else {
                wide.zeros_like().unwrap().narrow(2, 0, 1).unwrap()
            };
            let centred = wide.broadcast_sub(&off).unwrap();
            let scale = (centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap() + 1e-5)
                .unwrap()
                .sqrt()
                .unwrap();
            let by = |scale: &Tensor| -> Result<Tensor> {
                let y = centred.broadcast_div(scale)?.to_dtype(DType::F32)?;
                y.broadcast_mul(&weight)?.broadcast_add(&bias)
            };
            near(norm.measure(&x), scale.to_dtype(DType::F32), 2e-6);
            near(norm.apply(&x), by(&scale), 2e-6);
            let twice = (&scale * 2.0).unwrap();
            near(norm.finish(&x, &twice.to_dtype(DType::F32).unwrap()), by(&twice), 2e-6);
        }
    }
}

#[test]
fn a_softmax_and_a_mask() {
    for (b, h, n, m) in [(1, 1, 1, 1), (2, 3, 5, 33), (1, 2, 65, 129)] {
        let scores = (random((b, h, n, m)) * 10.0).unwrap();
        for dtype in [DType::F32, DType::F64] {
            let wide = scores.to_dtype(dtype).unwrap();
            let narrow = |got: Result<Tensor>| got?.to_dtype(DType::F32);
            near(narrow(softmax(&wide)), candle_nn::ops::softmax(&scores, D::Minus1), 1e-6);
            near(narrow(log_softmax(&wide)), candle_nn::ops::log_softmax(&scores, D::Minus1), 2e-6);
        }
        near(pattern(&scores, false), candle_nn::ops::softmax(&scores, D::Minus1), 1e-6);
        for rows in [1, b] {
            let allowed = random((rows, 1, n, m)).ge(0.0).unwrap();
            let lowest =
                Tensor::new(f32::MIN, &Device::Cpu).unwrap().broadcast_as(scores.shape()).unwrap();
            let expected =
                allowed.broadcast_as(scores.shape()).unwrap().where_cond(&scores, &lowest);
            near(masked(&scores, &allowed), expected, 0.0);
        }
    }
}

#[test]
fn heads_are_turned() {
    for (pairs, c, r) in
        [(Pairs::Halves, 32, 32), (Pairs::Halves, 20, 8), (Pairs::Neighbours, 17, 6)]
    {
        let (b, h, n) = (2, 3, 5);
        let x = random((b, n, h, c)).transpose(1, 2).unwrap();
        for rows in [1, b] {
            let angles = random((rows, 1, n, r / 2));
            let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
            let part = |i: usize| match pairs {
                Pairs::Halves => x.narrow(3, i * r / 2, r / 2).unwrap(),
                Pairs::Neighbours => {
                    let at: Vec<u32> = (0..r as u32 / 2).map(|pair| 2 * pair + i as u32).collect();
                    x.contiguous()
                        .unwrap()
                        .index_select(&Tensor::new(at, &Device::Cpu).unwrap(), 3)
                        .unwrap()
                }
            };
            let times = |x: &Tensor, by: &Tensor| x.broadcast_mul(by).unwrap();
            let first = (times(&part(0), &cos) - times(&part(1), &sin)).unwrap();
            let second = (times(&part(1), &cos) + times(&part(0), &sin)).unwrap();
            let turned = match pairs {
                Pairs::Halves => Tensor::cat(&[first, second], 3),
                Pairs::Neighbours => {
                    Tensor::stack(&[first, second], 4).and_then(|t| t.reshape((b, h, n, r)))
                }
            };
            let rest = x.narrow(3, r, c - r).unwrap();
            near(turn(&x, &cos, &sin, pairs), Tensor::cat(&[turned.unwrap(), rest], 3), 1e-6);
        }
    }
}

/// Attention by way of its scores.
fn by_scores(q: &Tensor, k: &Tensor, v: &Tensor, rule: &Rule) -> Result<Tensor> {
    let (b, h, n, _) = q.dims4()?;
    let (_, groups, m, c) = k.dims4()?;
    let each = |t: &Tensor| {
        t.unsqueeze(2)?.expand((b, groups, h / groups, m, c))?.contiguous()?.reshape((b, h, m, c))
    };
    let mut scores = (q.contiguous()?.matmul(&each(k)?.t()?)? * rule.scale)?;
    if let Some(cap) = rule.cap {
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    if let Some(bias) = &rule.bias {
        scores = scores.broadcast_add(&bias.to_dtype(q.dtype())?)?;
    }
    let lowest =
        Tensor::new(f32::MIN, q.device())?.to_dtype(q.dtype())?.broadcast_as((b, h, n, m))?;
    let scores = rule.allowed.broadcast_as((b, h, n, m))?.where_cond(&scores, &lowest)?;
    candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&each(v)?)
}

#[test]
fn attention_without_its_scores() {
    // Queries and keys, the most being more than a block of queries; and what a query sees: all
    // before it, three before it, anything, nothing in the first rows.
    for (n, m) in [(1, 1), (1, 40), (17, 17), (33, 50), (150, 150)] {
        let past = m - n;
        let causal = |query: usize, key: usize| key <= query + past;
        let sees: [&dyn Fn(usize, usize) -> bool; 4] = [
            &causal,
            &|query, key| causal(query, key) && query + past - key < 3,
            &|query, key| (query * 7 + key * 3) % 5 != 0,
            &|query, key| query > 4 && key > 4 && causal(query, key),
        ];
        for (at, sees) in sees.iter().enumerate() {
            let (b, h, groups, c) = (2, 4, [4, 2, 1][at % 3], [16, 20, 33][at % 3]);
            let heads =
                |heads: usize, rows: usize| random((b, rows, heads, c)).transpose(1, 2).unwrap();
            let (q, k, v) = (heads(h, n), heads(groups, m), heads(groups, m));
            for (masks, cap, with_bias) in [(1, None, false), (b, Some(5.0), true)] {
                let allowed: Vec<u8> = (0..masks)
                    .flat_map(|row| (0..n * m).map(move |i| (row, i / m, i % m)))
                    .map(|(row, query, key)| u8::from(sees(query, key) && (row == 0 || key != 1)))
                    .collect();
                let allowed = Tensor::from_vec(allowed, (masks, 1, n, m), &Device::Cpu).unwrap();
                let bias = with_bias.then(|| random((b, h, 1, m)));
                let rule = Rule { scale: 0.25, cap, allowed, bias };
                let got = attention(&q, &k, &v, &rule).expect("the loops take it");
                near(got, by_scores(&q, &k, &v, &rule), 3e-6);
            }
        }
    }
}

#[test]
fn products_of_matrices_side_by_side() {
    let pairs = [
        (random((5, 7)), random((7, 3))),
        (random((2, 3, 140, 9)), random((2, 3, 9, 33))),
        (random((4, 9, 8)).transpose(1, 2).unwrap(), random((4, 5, 9)).transpose(1, 2).unwrap()),
        (
            random((6, 2, 8)).transpose(0, 1).unwrap(),
            random((8, 4)).unsqueeze(0).unwrap().expand((2, 8, 4)).unwrap(),
        ),
        (random((3, 2, 0)), random((3, 0, 4))),
        (random((0, 2, 2)), random((0, 2, 4))),
    ];
    for (a, b) in pairs {
        let expected = a.contiguous().unwrap().matmul(&b.contiguous().unwrap()).unwrap() * 0.5;
        near(matmul(&a, &b, 0.5), expected, 1e-5);
    }
    assert!(matmul(&random((2, 3)), &random((4, 3)), 1.0).is_err());
}

#[test]
fn elements_of_other_types_and_of_variables_are_not_taken() {
    let x = random((2, 3));
    assert!(Elements::<f32>::contiguous(&x).is_some_and(|elements| elements.len() == 6));
    assert!(Elements::<f32>::of(&Var::from_tensor(&x).unwrap()).is_none());
    assert!(Elements::<f64>::of(&x).is_none());
    let turned = x.t().unwrap();
    assert!(Elements::<f32>::contiguous(&turned).is_none());
    assert!(Elements::<f32>::of(&turned).is_some_and(|elements| elements.strides() == [1, 3]));
}
