//! Each kernel beside candle's own operations, on shapes that fit no vector.

use candle_core::{D, DType, Device, Result, Tensor, Var};

use super::{activation, attention, norm, product, rotary, softmax, sum, sum_of_heads};
use crate::model::spec::{Activation, Pairs};

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
}

#[track_caller]
fn near(got: Option<Result<Tensor>>, expected: Result<Tensor>, tolerance: f64) {
    let (got, expected) = (got.expect("the kernel takes it").unwrap(), expected.unwrap());
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
    assert!(sum(&random((2, 3)), &random((1, 3))).is_none());
    assert!(sum(&random((2, 3)).t().unwrap(), &random((3, 2))).is_none());
}

#[test]
fn a_sum_of_heads() {
    for shape in [(1, 1, 1, 1), (2, 3, 5, 7), (2, 12, 40, 500)] {
        let each = random(shape);
        near(sum_of_heads(&each), each.sum(1), 1e-6);
    }
    assert!(sum_of_heads(&random((2, 3, 4)).transpose(1, 2).unwrap()).is_none());
}

#[test]
fn a_product_with_and_without_a_bias() {
    for (rows, input, out) in [(1, 1, 1), (7, 33, 17), (129, 64, 100)] {
        let (x, bias) = (random((rows, input)), random(out));
        let weight = random((out, input));
        let expected = x.matmul(&weight.t().unwrap());
        near(product(&x, &weight, None), Ok(expected.as_ref().unwrap().clone()), 1e-5);
        near(product(&x, &weight, Some(&bias)), expected.unwrap().broadcast_add(&bias), 1e-5);
        // As GPT-2 keeps its weights.
        let turned = random((input, out));
        near(
            product(&x, &turned.t().unwrap(), Some(&bias)),
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
        ] {
            let expected = expected.unwrap();
            near(activation::activation(kind, &x, None), Ok(expected.clone()), 2e-6);
            near(activation::activation(kind, &x, Some(&up)), expected * &up, 2e-6);
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
            let rule = norm::Rule { centred, eps: 1e-5, weight: Some(&weight), bias: Some(&bias) };
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
            // Of a float32 near 1e4 the last digit is 1e-3.
            let tolerance = if mean > 1e3 { 2e-3 } else { 2e-6 };
            near(rule.scale(&x), scale.to_dtype(DType::F32), tolerance);
            near(rule.normed(&x, None), by(&scale), tolerance);
            let twice = (&scale * 2.0).unwrap();
            near(
                rule.normed(&x, Some(&twice.to_dtype(DType::F32).unwrap())),
                by(&twice),
                tolerance,
            );
        }
    }
}

#[test]
fn a_softmax_and_a_mask() {
    for (b, h, n, m) in [(1, 1, 1, 1), (2, 3, 5, 33), (1, 2, 65, 129)] {
        let scores = (random((b, h, n, m)) * 10.0).unwrap();
        near(softmax::softmax(&scores), candle_nn::ops::softmax(&scores, D::Minus1), 1e-6);
        for rows in [1, b] {
            let allowed = random((rows, 1, n, m)).ge(0.0).unwrap();
            let lowest =
                Tensor::new(f32::MIN, &Device::Cpu).unwrap().broadcast_as(scores.shape()).unwrap();
            let expected =
                allowed.broadcast_as(scores.shape()).unwrap().where_cond(&scores, &lowest);
            near(softmax::masked(&scores, &allowed), expected, 0.0);
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
            near(
                rotary::turn(&x, &cos, &sin, pairs),
                Tensor::cat(&[turned.unwrap(), rest], 3),
                1e-6,
            );
        }
    }
}

/// Attention by way of its scores.
fn by_scores(q: &Tensor, k: &Tensor, v: &Tensor, rule: &attention::Rule) -> Result<Tensor> {
    let (b, h, n, _) = q.dims4()?;
    let (_, groups, m, c) = k.dims4()?;
    let each = |t: &Tensor| {
        t.unsqueeze(2)?.expand((b, groups, h / groups, m, c))?.contiguous()?.reshape((b, h, m, c))
    };
    let mut scores = (q.contiguous()?.matmul(&each(k)?.t()?)? * rule.scale)?;
    if let Some(cap) = rule.cap {
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    if let Some(bias) = rule.bias {
        scores = scores.broadcast_add(bias)?;
    }
    let lowest = Tensor::new(f32::MIN, q.device())?.broadcast_as((b, h, n, m))?;
    let scores = rule.allowed.broadcast_as((b, h, n, m))?.where_cond(&scores, &lowest)?;
    candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&each(v)?)
}

#[test]
fn attention_without_its_scores() {
    // Queries, keys, and what a query sees: all before it, three before it, anything, nothing in
    // the first rows.
    for (n, m) in [(1, 1), (1, 40), (17, 17), (33, 50), (300, 300)] {
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
                let rule =
                    attention::Rule { scale: 0.25, cap, allowed: &allowed, bias: bias.as_ref() };
                near(attention::attention(&q, &k, &v, &rule), by_scores(&q, &k, &v, &rule), 3e-6);
            }
        }
    }
}

#[test]
fn what_has_a_gradient_or_another_type_is_left_alone() {
    let variable = Var::from_tensor(&random((4, 4))).unwrap();
    let half = random((4, 4)).to_dtype(DType::F16).unwrap();
    let (weight, rule) =
        (random((4, 4)), norm::Rule { centred: true, eps: 1e-5, weight: None, bias: None });
    for x in [variable.as_tensor(), &half] {
        assert!(
            sum(x, x).is_none()
                && product(x, &weight, None).is_none()
                && softmax::softmax(x).is_none()
        );
        assert!(rule.scale(x).is_none() && rule.normed(x, None).is_none());
        assert!(activation::activation(Activation::Silu, x, None).is_none());
    }
    assert!(product(&weight, variable.as_tensor(), None).is_none());
}
