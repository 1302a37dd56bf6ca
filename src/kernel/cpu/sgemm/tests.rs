//! Every engine that this processor has, beside the definition in double precision.

use super::loops::Blocks;
use super::{Cores, Matrix, product};
use crate::kernel::cpu::simd::Cpu;

/// Numbers of both signs and of many sizes, that look random.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    (0..count)
        .map(|_| (next() as f32 / (1 << 23) as f32 - 1.0) * f32::powi(2.0, (next() % 9) as i32 - 4))
        .collect()
}

/// [m, n], each with what its terms' sizes add up to, and what its row's and column's largest
/// numbers would: what rounding counts from.
fn defined(
    [m, n, k]: [usize; 3],
    left: Matrix,
    right: Matrix,
    bias: Option<&[f32]>,
) -> Vec<(f64, f64, f64)> {
    let number = |matrix: Matrix, i: usize, j: usize| {
        f64::from(matrix.numbers[i * matrix.steps[0] + j * matrix.steps[1]])
    };
    (0..m * n)
        .map(|at| {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[at % n]));
            let (mut sum, mut size, mut largest) = (bias, bias.abs(), [0f64; 2]);
            for l in 0..k {
                let (a, b) = (number(left, at / n, l), number(right, l, at % n));
                (sum, size) = (sum + a * b, size + (a * b).abs());
                largest = [largest[0].max(a.abs()), largest[1].max(b.abs())];
            }
            (sum, size, largest[0] * largest[1] * (k as f64).sqrt())
        })
        .collect()
}

/// Runs `check` with each engine's name and function.
fn engines(check: impl Fn(&str, &dyn Fn(Blocks, Cores))) {
    for (cpu, name) in [(Cpu::Avx2, "avx2"), (Cpu::Avx512, "avx512"), (Cpu::Amx, "amx")] {
        if cpu <= Cpu::widest() {
            // SAFETY: the processor has the instructions, and the result is the test's.
            check(name, &|blocks, cores| unsafe {
                match cpu {
                    Cpu::Amx => blocks.amx(cores),
                    Cpu::Avx512 => blocks.avx512(cores),
                    _ => blocks.avx2(cores),
                }
            });
        }
    }
}

const SHAPES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [1, 40, 3],
    [5, 7, 33],
    [14, 32, 16],
    [15, 33, 129],
    [32, 32, 128],
    [33, 31, 257],
    [64, 96, 300],
    [130, 17, 40],
    [47, 300, 512],
    [600, 40, 20],
    [1100, 35, 9],
];

#[test]
fn every_engine_multiplies_matrices_that_lie_either_way() {
    engines(|name, run| {
        for (case, shape @ [m, n, k]) in SHAPES.into_iter().enumerate() {
            let (a, b, bias) = (numbers(2 * m * k, 1), numbers(2 * k * n, 2), numbers(n, 3));
            // Row by row, column by column, with gaps.
            for (left, right) in
                [([k, 1], [n, 1]), ([k, 1], [1, k]), ([1, m], [n, 1]), ([2 * k, 2], [2 * n, 2])]
            {
                let (left, right) =
                    (Matrix { numbers: &a, steps: left }, Matrix { numbers: &b, steps: right });
                let bias = (case % 2 == 0).then_some(&bias[..]);
                let (step, cores) =
                    (n + case % 3, if case % 4 == 0 { Cores::One } else { Cores::All });
                let mut out = vec![f32::NAN; m * step];
                run(Blocks { shape, out: out.as_mut_ptr(), step, left, right, bias }, cores);
                for (at, (sum, size, largest)) in
                    defined(shape, left, right, bias).into_iter().enumerate()
                {
                    let got = f64::from(out[at / n * step + at % n]);
                    let rounding = if name == "amx" { largest * 2f64.powi(-21) } else { 0.0 };
                    assert!(
                        (got - sum).abs() <= size * 2e-6 + rounding,
                        "{name} {shape:?} at {at}: {got}, not {sum} of terms of {size}"
                    );
                }
                let between = out.iter().enumerate().filter(|(at, _)| at % step >= n);
                assert!(
                    between.into_iter().all(|(_, x)| x.is_nan()),
                    "{name} {shape:?} wrote between its rows"
                );
            }
        }
    });
}

/// The sum of what looks random comes near to a normal distribution.
fn normal(count: usize, seed: u32) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = (0..6).map(|part| numbers(count, 6 * seed + part)).collect();
    (0..count).map(|at| parts.iter().map(|part| part[at] % 1.0).sum()).collect()
}

#[test]
fn fixed_point_is_as_exact_as_float32() {
    // Numbers alike; and of sizes from 1/16 to 16, as where a few features stand out.
    // Alike and near to one, where a power of two as the unit would lose most.
    let alike = |count: usize, seed: u32| -> Vec<f32> {
        numbers(count, seed).into_iter().map(|x| x % 1.0).collect()
    };
    let kinds: [&dyn Fn(usize, u32) -> Vec<f32>; 3] = [&normal, &numbers, &alike];
    for (k, most) in [(256, 1.0), (512, 0.75), (768, 0.75), (3072, 0.5)] {
        for of in kinds {
            let shape @ [m, n, k] = [64, 64, k];
            let (a, b) = (of(m * k, 5), of(k * n, 6));
            let (left, right) =
                (Matrix { numbers: &a, steps: [k, 1] }, Matrix { numbers: &b, steps: [n, 1] });
            let defined = defined(shape, left, right, None);
            let worst = |run: &dyn Fn(Blocks, Cores)| {
                let mut out = vec![0f32; m * n];
                run(
                    Blocks { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
                    Cores::All,
                );
                out.iter()
                    .zip(&defined)
                    .map(|(&got, (sum, ..))| (f64::from(got) - sum).abs())
                    .fold(0.0, f64::max)
            };
            let float32 = std::cell::Cell::new(0.0);
            engines(|name, run| match name {
                "amx" => {
                    assert!(
                        worst(run) <= most * float32.get(),
                        "{k}: {} and {}",
                        worst(run),
                        float32.get()
                    )
                }
                _ => float32.set(worst(run)),
            });
        }
    }
}

#[test]
fn tiny_numbers_are_multiplied_as_well() {
    let shape @ [m, n, k] = [20, 40, 300];
    engines(|name, run| {
        for tiny in [3e-38f32, 1e-31, 1e-45] {
            let (a, b) = (vec![tiny; m * k], vec![1e30f32; k * n]);
            let (left, right) =
                (Matrix { numbers: &a, steps: [k, 1] }, Matrix { numbers: &b, steps: [n, 1] });
            let mut out = vec![0f32; m * n];
            run(
                Blocks { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
                Cores::All,
            );
            let expected = k as f64 * f64::from(tiny) * f64::from(1e30f32);
            assert!(
                out.iter().all(|&got| (f64::from(got) / expected - 1.0).abs() < 1e-5),
                "{name} {tiny}: {}",
                out[0]
            );
        }
    });
}

#[test]
fn a_number_that_stands_apart_does_not_cost_the_others() {
    let shape @ [m, n, k] = [20, 40, 256];
    engines(|name, run| {
        let (mut a, mut b) = (vec![0.013f32; m * k], vec![1.1f32; k * n]);
        a.chunks_mut(k).for_each(|row| row[0] = 1e6 / 3.0);
        b[..n].fill(0.0);
        let (left, right) =
            (Matrix { numbers: &a, steps: [k, 1] }, Matrix { numbers: &b, steps: [n, 1] });
        let mut out = vec![0f32; m * n];
        run(Blocks { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None }, Cores::All);
        let expected = 255.0 * f64::from(0.013f32) * f64::from(1.1f32);
        assert!(
            out.iter().all(|&got| (f64::from(got) / expected - 1.0).abs() < 1e-5),
            "{name}: {}",
            out[0]
        );
    });
}

#[test]
fn numbers_of_few_bits_are_multiplied_exactly() {
    let shape @ [m, n, k] = [20, 40, 600];
    let whole = |count: usize, of: i32| -> Vec<f32> {
        (0..count).map(|at| (at as i32 * 37 % of - of / 2) as f32).collect()
    };
    // A choice of rows; small whole numbers; and those times a power of two.
    let choice = (0..m * k).map(|at| if at % k == 29 * (at / k) { 1.0 } else { 0.0 }).collect();
    for (a, b) in [
        (choice, whole(k * n, 255)),
        (whole(m * k, 11), whole(k * n, 9)),
        (vec![1.0; m * k], vec![0.375; k * n]),
    ] {
        let (left, right) =
            (Matrix { numbers: &a, steps: [k, 1] }, Matrix { numbers: &b, steps: [n, 1] });
        let defined = defined(shape, left, right, None);
        engines(|name, run| {
            let mut out = vec![0f32; m * n];
            run(
                Blocks { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
                Cores::All,
            );
            assert!(
                out.iter().zip(&defined).all(|(&got, (sum, ..))| f64::from(got) == *sum),
                "{name}"
            );
        });
    }
}

#[test]
fn what_is_not_finite_spoils_its_own_row_and_column_alone() {
    let shape @ [m, n, k] = [70, 80, 50];
    engines(|name, run| {
        for (row, odd) in
            [(3, f32::INFINITY), (40, f32::NAN), (69, f32::MAX), (0, f32::NEG_INFINITY)]
        {
            for on_the_left in [true, false] {
                let (mut a, mut b) = (vec![0.5f32; m * k], vec![0.25f32; k * n]);
                if on_the_left {
                    a[row * k + 7] = odd
                } else {
                    b[7 * n + row] = odd
                }
                let (left, right) =
                    (Matrix { numbers: &a, steps: [k, 1] }, Matrix { numbers: &b, steps: [n, 1] });
                let mut out = vec![0f32; m * n];
                run(
                    Blocks { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
                    Cores::All,
                );
                for (at, got) in out.into_iter().enumerate() {
                    let touched = if on_the_left { at / n == row } else { at % n == row };
                    let other = if on_the_left { 0.25 } else { 0.5 };
                    let expected = if touched { odd * other } else { 0.125 * k as f32 };
                    let alike = got == expected || got.is_nan() && expected.is_nan();
                    assert!(
                        alike
                            || (touched && odd == f32::MAX && (got / expected - 1.0).abs() < 1e-6),
                        "{name}: {got}, not {expected}"
                    );
                }
            }
        }
    });
}

#[test]
fn whichever_is_chosen_multiplies() {
    for shape @ [m, n, k] in
        [[0, 3, 4], [3, 0, 4], [3, 4, 0], [7, 50, 30], [100, 50, 30], [100, 50, 600]]
    {
        let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
        let (left, right) =
            (Matrix { numbers: &a, steps: [k, 1] }, Matrix { numbers: &b, steps: [n, 1] });
        let mut out = vec![f32::NAN; m * n];
        // SAFETY: the result is the test's.
        unsafe { product(shape, (out.as_mut_ptr(), n), left, right, Some(&bias), Cores::All) };
        for (got, (sum, size, _)) in out.into_iter().zip(defined(shape, left, right, Some(&bias))) {
            assert!((f64::from(got) - sum).abs() <= size * 2e-6, "{shape:?}: {got}, not {sum}");
        }
    }
}
