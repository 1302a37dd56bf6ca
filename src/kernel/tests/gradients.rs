//! The derivative of each operation beside central differences in float64: once in float64, where most
//! are candle's operations, and once in float32, where they are the loops of this crate.

use std::slice::from_ref;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::by_scores;
use crate::activation::Activation;
use crate::attention::{Rule, attention};
use crate::cap::soft_cap;
use crate::cross_entropy::cross_entropy;
use crate::differentiable::backward;
use crate::heads;
use crate::lookup::lookup;
use crate::norm::Norm;
use crate::product::{linear, matmul};
use crate::rotary::{Pairs, turn};
use crate::softmax::{log_softmax, masked, pattern, softmax};
use crate::sum::{sum, sum_of_heads};

type Operation<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f64, 1.0, shape, &Device::Cpu).unwrap()
}

/// The sum of the elements of a result, each times a number of its own.
fn weighed(result: &Tensor) -> Result<Tensor> {
    let count = result.elem_count() as u32;
    let weights =
        (Tensor::arange(0, count, result.device())?.to_dtype(DType::F64)? * 1.7)?.sin()?;
    let weights = weights.reshape(result.shape())?;
    (result.to_dtype(DType::F64)? * weights)?.sum_all()
}

fn numbers(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The gradients of [`weighed`] by way of the graph, with the inputs in a dtype.
fn by_graph(operation: Operation, inputs: &[Tensor], dtype: DType) -> Vec<Vec<f64>> {
    let variables: Vec<Var> =
        inputs.iter().map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap()).collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let gradients = backward(&weighed(&operation(&tensors).unwrap()).unwrap()).unwrap();
    let each = |variable: &Var| {
        let gradient = gradients.get(variable).expect("a gradient");
        assert_eq!((gradient.dims(), gradient.dtype()), (variable.dims(), dtype));
        numbers(gradient)
    };
    variables.iter().map(each).collect()
}

fn by_differences(operation: Operation, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-5;
    let at = |moved: usize, element: usize, by: f64| -> f64 {
        let mut inputs = inputs.to_vec();
        let mut elements = numbers(&inputs[moved]);
        elements[element] += by;
        inputs[moved] = Tensor::from_vec(elements, inputs[moved].shape(), &Device::Cpu).unwrap();
        weighed(&operation(&inputs).unwrap()).unwrap().to_scalar().unwrap()
    };
    (0..inputs.len())
        .map(|input| {
            (0..inputs[input].elem_count())
                .map(|i| (at(input, i, STEP) - at(input, i, -STEP)) / (2.0 * STEP))
                .collect()
        })
        .collect()
}

/// Compares gradients; the tolerance is in units of the largest of an input's.
#[track_caller]
fn alike(what: &str, got: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
    for (input, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.len(), expected.len());
        let most = expected.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let off = (got - expected).abs() / most;
            assert!(off <= tolerance, "{what}: {got}, not {expected}, at {i} of input {input}");
        }
    }
}

#[track_caller]
fn check(what: &str, inputs: &[Tensor], operation: Operation) {
    let expected = by_differences(operation, inputs);
    alike(what, &by_graph(operation, inputs, DType::F64), &expected, 1e-7);
    alike(what, &by_graph(operation, inputs, DType::F32), &expected, 2e-5);
}

#[test]
fn of_projections() {
    for (rows, input, out) in [(1, 1, 1), (3, 17, 5), (9, 8, 21)] {
        let (x, weight, bias) = (random((rows, input)), random((out, input)), random(out));
        check("with a bias", &[x.clone(), weight.clone(), bias], &|t| {
            linear(&t[0], &t[1], Some(&t[2]))
        });
        check("without", &[x.clone(), weight.clone()], &|t| linear(&t[0], &t[1], None));
        let turned =
            [x.t().unwrap().contiguous().unwrap(), weight.t().unwrap().contiguous().unwrap()];
        check("turned", &turned, &|t| linear(&t[0].t()?, &t[1].t()?, None));
    }
    check("of a batch", &[random((2, 3, 4)), random((5, 4)), random(5)], &|t| {
        linear(&t[0], &t[1], Some(&t[2]))
    });
    // Most rows of the gradient are zeros.
    check("of some rows", &[random((12, 4)), random((5, 4)), random(5)], &|t| {
        linear(&t[0], &t[1], Some(&t[2]))?.narrow(0, 7, 2)
    });
}

#[test]
fn of_products() {
    check("matrices", &[random((5, 7)), random((7, 3))], &|t| matmul(&t[0], &t[1], 1.0));
    check("a batch", &[random((2, 3, 4, 5)), random((2, 3, 5, 2))], &|t| {
        matmul(&t[0], &t[1], -0.5)
    });
    check("turned ones", &[random((2, 5, 4)), random((2, 3, 5))], &|t| {
        matmul(&t[0].transpose(1, 2)?, &t[1].transpose(1, 2)?, 2.0)
    });
    check("one for all", &[random((2, 3, 4)), random((4, 2))], &|t| {
        matmul(&t[0], &t[1].unsqueeze(0)?.expand((2, 4, 2))?, 1.0)
    });
}

#[test]
fn of_sums() {
    check("of two", &[random((3, 5)), random((3, 5))], &|t| sum(&t[0], &t[1]));
    check("of one with itself", &[random((3, 5))], &|t| sum(&t[0], &t[0]));
    check("of heads", &[random((2, 3, 4, 5))], &|t| sum_of_heads(&t[0]));
}

#[test]
fn of_heads() {
    check("split", &[random((2, 3, 8))], &|t| heads::split(&t[0], 2));
    check("joined", &[random((2, 4, 3, 2))], &|t| heads::join(&t[0]));
    check("split and joined", &[random((2, 3, 8))], &|t| heads::join(&heads::split(&t[0], 4)?));
}

#[test]
fn of_norms() {
    for (shape, mean) in [((1, 1, 3), 0.0), ((2, 3, 33), 3.0), ((1, 4, 16), -1.0)] {
        let (x, d) = ((random(shape) + mean).unwrap(), shape.2);
        let (weight, bias) = (random(d), random(d));
        for centred in [true, false] {
            fn with<'a>(
                centred: bool,
                weight: Option<&'a Tensor>,
                bias: Option<&'a Tensor>,
            ) -> Norm<'a> {
                Norm { centred, eps: 1e-5, weight, bias }
            }
            check("bare", from_ref(&x), &|t| with(centred, None, None).apply(&t[0]));
            check("weighted", &[x.clone(), weight.clone()], &|t| {
                with(centred, Some(&t[1]), None).apply(&t[0])
            });
            check("with a bias", &[x.clone(), bias.clone()], &|t| {
                with(centred, None, Some(&t[1])).apply(&t[0])
            });
            let all = [x.clone(), weight.clone(), bias.clone()];
            check("affine", &all, &|t| with(centred, Some(&t[1]), Some(&t[2])).apply(&t[0]));
            check("in halves", &all, &|t| {
                let norm = with(centred, Some(&t[1]), Some(&t[2]));
                norm.finish(&t[0], &norm.measure(&t[0])?)
            });
            check("the scale", from_ref(&x), &|t| with(centred, None, None).measure(&t[0]));
            let scale = (random((shape.0, shape.1, 1)).abs().unwrap() + 0.5).unwrap();
            check("by a scale", &[x.clone(), scale.clone()], &|t| {
                let row = |row: &Tensor| row.to_dtype(t[0].dtype());
                let (weight, bias) = (row(&weight)?, row(&bias)?);
                with(centred, Some(&weight), Some(&bias)).finish(&t[0], &t[1])
            });
        }
    }
    // A gain that each head has its own of.
    check("by head", &[random((2, 3, 4, 5)), random((3, 1, 5))], &|t| {
        Norm { centred: false, eps: 1e-5, weight: Some(&t[1]), bias: None }.apply(&t[0])
    });
}

#[test]
fn of_activations() {
    use Activation::{Gelu, GeluTanh, Mish, QuickGelu, Relu, Relu2, Silu};
    for shape in [(1, 1), (5, 33)] {
        // Not too near to 0, where the slope of relu changes.
        let x = (random(shape) * 3.0).unwrap();
        let x = (&x + (x.sign().unwrap() * 0.01).unwrap()).unwrap();
        for kind in [Relu, Gelu, GeluTanh, Silu, Relu2, QuickGelu, Mish] {
            let what = format!("{kind:?}");
            check(&what, from_ref(&x), &|t| kind.apply(&t[0], None));
            check(&what, &[x.clone(), random(shape)], &|t| kind.apply(&t[0], Some(&t[1])));
        }
    }
    for dtype in [DType::F32, DType::F64] {
        let zero = Tensor::zeros(1, dtype, &Device::Cpu).unwrap();
        assert_eq!(by_graph(&|t| Relu.apply(&t[0], None), &[zero], dtype), [[0.0]]);
    }
}

#[test]
fn of_softmax_its_logarithm_and_patterns() {
    for shape in [(1, 1, 1, 1), (2, 2, 3, 37)] {
        let (x, (b, _, n, m)) = ((random(shape) * 3.0).unwrap(), shape);
        check("softmax", from_ref(&x), &|t| softmax(&t[0]));
        check("log_softmax", from_ref(&x), &|t| log_softmax(&t[0]));
        check("soft_cap", from_ref(&x), &|t| soft_cap(&t[0], 2.5));
        for rows in [1, b] {
            let allowed = random((rows, 1, n, m)).gt(-0.5).unwrap();
            check("masked", from_ref(&x), &|t| {
                // The lowest number is not part of what is compared.
                let kept = allowed.broadcast_as(t[0].shape())?;
                kept.where_cond(&masked(&t[0], &allowed)?, &t[0].zeros_like()?)
            });
            check("a pattern", from_ref(&x), &|t| pattern(&masked(&t[0], &allowed)?, true));
        }
    }
    // The first query attends to nothing, the second sees nothing and attends to all alike.
    let scores = random((1, 1, 3, 4));
    for dtype in [DType::F32, DType::F64] {
        let of_scores = by_graph(
            &|t| {
                let hidden = Tensor::new(&[0u8, 1, 1], &Device::Cpu)?.reshape((1, 1, 3, 1))?;
                let infinite = (Tensor::new(f64::NEG_INFINITY, &Device::Cpu)?.to_dtype(dtype)?)
                    .broadcast_as((1, 1, 3, 4))?;
                let scores = hidden.broadcast_as((1, 1, 3, 4))?.where_cond(&t[0], &infinite)?;
                let allowed = Tensor::new(&[1u8, 0, 1], &Device::Cpu)?
                    .reshape((1, 1, 3, 1))?
                    .expand((1, 1, 3, 4))?
                    .contiguous()?;
                pattern(&masked(&scores, &allowed)?, true)
            },
            from_ref(&scores),
            dtype,
        );
        assert_eq!(of_scores[0][..8], [0.0; 8]);
        assert!(of_scores[0][8..].iter().all(|x| *x != 0.0));
    }
}

#[test]
fn of_rotations() {
    for (pairs, c, half) in
        [(Pairs::Halves, 8, 4), (Pairs::Halves, 7, 2), (Pairs::Neighbours, 6, 2)]
    {
        for rows in [1, 2] {
            let angles = random((rows, 1, 3, half));
            let turned = |x: &Tensor| {
                let part = |t: Tensor| (t * 1.2)?.to_dtype(x.dtype());
                turn(x, &part(angles.cos()?)?, &part(angles.sin()?)?, pairs)
            };
            check("heads", &[random((2, 2, 3, c))], &|t| turned(&t[0]));
            check("turned heads", &[random((2, 3, 2, c))], &|t| turned(&t[0].transpose(1, 2)?));
        }
    }
}

#[test]
fn of_a_lookup() {
    let indices = Tensor::new(&[[2u32, 0, 2], [3, 2, 0]], &Device::Cpu).unwrap();
    check("rows", &[random((5, 3))], &|t| lookup(&t[0], &indices));
}

#[test]
fn of_a_cross_entropy() {
    let targets = Tensor::new(&[[2u32, 0], [1, 3]], &Device::Cpu).unwrap();
    let logits = (random((2, 3, 5)) * 3.0).unwrap();
    // In float64 by its definition, since the result is float32.
    let expected = by_differences(
        &|t| {
            let picked = t[0].narrow(1, 0, 2)?.contiguous()?.gather(&targets.unsqueeze(2)?, 2)?;
            t[0].narrow(1, 0, 2)?.log_sum_exp(2)? - picked.squeeze(2)?
        },
        from_ref(&logits),
    );
    for dtype in [DType::F32, DType::F64] {
        let of = by_graph(&|t| cross_entropy(&t[0], &targets), from_ref(&logits), dtype);
        alike("all", &of, &expected, 2e-6);
    }
    // Rows whose gradient is 0, and logits so large that they have few digits left.
    let large = (&logits + 1e4).unwrap().to_dtype(DType::F32).unwrap();
    let of = |dtype| {
        let last = |t: &[Tensor]| cross_entropy(&t[0], &targets)?.narrow(1, 1, 1)?.contiguous();
        by_graph(&last, from_ref(&large), dtype)
    };
    alike("large", &of(DType::F32), &of(DType::F64), 1e-6);
    let wrong = Tensor::new(&[[2u32, 0], [1, 5]], &Device::Cpu).unwrap();
    assert!(cross_entropy(&logits.to_dtype(DType::F32).unwrap(), &wrong).is_err());
}

/// A mask [rows, 1, n, m] of which queries see which keys.
fn mask(rows: usize, n: usize, m: usize, sees: &dyn Fn(usize, usize, usize) -> bool) -> Tensor {
    let seen = (0..rows * n * m).map(|i| u8::from(sees(i / (n * m), i / m % n, i % m)));
    Tensor::from_vec(seen.collect::<Vec<_>>(), (rows, 1, n, m), &Device::Cpu).unwrap()
}

#[test]
fn of_attention_without_its_scores() {
    // Queries and keys; the largest have two blocks of queries.
    for (at, (n, m)) in [(1, 1), (5, 5), (3, 9), (40, 40), (150, 150)].into_iter().enumerate() {
        let past = m - n;
        let causal = move |query: usize, key: usize| key <= query + past;
        let masks: [Tensor; 3] = [
            mask(1, n, m, &|_, query, key| causal(query, key)),
            mask(2, n, m, &|row, query, key| {
                causal(query, key) && query + past - key < 7 && (row == 0 || key > 1 || n == 1)
            }),
            // The first queries of the second row see nothing, and the others have gaps.
            mask(2, n, m, &|row, query, key| {
                causal(query, key) && (row == 0 || query > n / 2) && (query + key) % 3 != 1
            }),
        ];
        for (which, allowed) in masks.into_iter().enumerate() {
            let (h, groups, c) = [(2, 2, 4), (4, 2, 5), (3, 1, 4)][(which + at) % 3];
            let bias = (which > 0).then(|| random((2, h, 1, m)).to_dtype(DType::F32).unwrap());
            let cap = (which != 1).then_some(2.0);
            let rule = Rule { scale: 0.7, cap, allowed, bias };
            let heads = |heads: usize, rows: usize| random((2, rows, heads, c));
            let inputs = [heads(h, n), heads(groups, m), heads(groups, m)];
            let turned = |t: &[Tensor]| -> Result<Vec<Tensor>> {
                t.iter().map(|t| t.transpose(1, 2)).collect()
            };
            let slow = |t: &[Tensor]| {
                let t = turned(t)?;
                by_scores(&t[0], &t[1], &t[2], &rule)
            };
            let fast = |t: &[Tensor]| {
                let t = turned(t)?;
                attention(&t[0], &t[1], &t[2], &rule).expect("the loops take it")
            };
            let what = format!("{n} queries, {m} keys, mask {which}");
            let expected = by_graph(&slow, &inputs, DType::F64);
            alike(&what, &by_graph(&fast, &inputs, DType::F32), &expected, 3e-5);
            if n < 10 {
                alike(&what, &by_differences(&slow, &inputs), &expected, 1e-7);
            }
        }
    }
}

#[test]
fn of_one_input_of_attention_alone() {
    let rule =
        Rule { scale: 0.5, cap: None, allowed: mask(1, 4, 4, &|_, q, k| k <= q), bias: None };
    let inputs = [0, 1, 2].map(|_| random((1, 2, 4, 3)).to_dtype(DType::F32).unwrap());
    let all = |t: &[Tensor]| attention(&t[0], &t[1], &t[2], &rule).expect("the loops take it");
    let expected = by_graph(&all, &inputs, DType::F32);
    for which in 0..3 {
        let alone = |t: &[Tensor]| {
            let mut all = inputs.to_vec();
            all[which] = t[0].clone();
            attention(&all[0], &all[1], &all[2], &rule).expect("the loops take it")
        };
        let got = by_graph(&alone, &[inputs[which].clone()], DType::F32);
        assert_eq!(got[0], expected[which]);
    }
}

#[test]
fn of_weights_in_half_the_digits() {
    let (weight, bias) = (random((5, 4)), random(5));
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    let wide = |t: &Tensor| half(t).to_dtype(DType::F32).unwrap();
    let x = random((6, 4)).to_dtype(DType::F32).unwrap();
    let by = |weight: Tensor, bias: Tensor| {
        by_graph(&|t| linear(&t[0], &weight, Some(&bias)), from_ref(&x), DType::F32)
    };
    assert_eq!(by(half(&weight), half(&bias)), by(wide(&weight), wide(&bias)));
    let row = random(4);
    let by = |weight: Tensor| {
        let norm = Norm { centred: true, eps: 1e-5, weight: Some(&weight), bias: None };
        let halves = |t: &[Tensor]| norm.finish(&t[0], &norm.measure(&t[0])?);
        [
            by_graph(&|t| norm.apply(&t[0]), from_ref(&x), DType::F32),
            by_graph(&halves, from_ref(&x), DType::F32),
        ]
    };
    assert_eq!(by(half(&row)), by(wide(&row)));
    // Tensors that are half themselves.
    let given = [random((3, 4)), random((5, 4))];
    let exact = by_graph(&|t| linear(&t[0], &t[1], None), &given, DType::F64);
    alike("half", &by_graph(&|t| linear(&t[0], &t[1], None), &given, DType::F16), &exact, 5e-3);
    let pattern = |t: &[Tensor]| softmax(&t[0]);
    let exact = by_graph(&pattern, &given[..1], DType::F64);
    alike("half", &by_graph(&pattern, &given[..1], DType::F16), &exact, 5e-3);
    let narrow = |t: &[Tensor]| Activation::GeluTanh.apply(&t[0], None);
    let exact = by_graph(&narrow, &given[..1], DType::F64);
    alike("half", &by_graph(&narrow, &given[..1], DType::BF16), &exact, 3e-2);
}
