//! Products with every set of instructions that this processor has, against the definition in
//! float64.

use super::{Cores, Matrix, Onto, Sums, add_product, product, product_by};
use crate::cpu::simd::Cpu;

/// The arguments of one product.
struct Product<'a> {
    shape: [usize; 3],
    out: *mut f32,
    step: usize,
    left: Matrix<'a>,
    right: Matrix<'a>,
    bias: Option<&'a [f32]>,
}

/// Pseudo-random numbers of both signs, from 2⁻⁴ to 2⁴ in size.
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

/// The product [m, n] in float64: each element, and the sum of its terms' absolute values, which
/// bounds its rounding error.
fn defined(
    [m, n, k]: [usize; 3],
    left: Matrix,
    right: Matrix,
    bias: Option<&[f32]>,
) -> Vec<(f64, f64)> {
    let number = |matrix: Matrix, i: usize, j: usize| {
        f64::from(matrix.numbers[i * matrix.steps[0] + j * matrix.steps[1]])
    };
    (0..m * n)
        .map(|at| {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[at % n]));
            (0..k).fold((bias, bias.abs()), |(sum, size), l| {
                let term = number(left, at / n, l) * number(right, l, at % n);
                (sum + term, size + term.abs())
            })
        })
        .collect()
}

/// Runs `check` with each set of instructions' name and product. Says which sets are skipped.
fn engines(check: impl Fn(&str, &dyn Fn(Product, (Cores, Sums)))) {
    for cpu in Cpu::ALL {
        if cpu > Cpu::widest() {
            println!("skipped: this processor has no {cpu}");
            continue;
        }
        check(cpu.name(), &|Product { shape, out, step, left, right, bias }, how| {
            let onto = bias.map_or(Onto::Nothing, Onto::Row);
            // SAFETY: `out` points to a test's vector of m rows of `step` elements, and the
            // processor has the instructions.
            unsafe { product_by(cpu, shape, (out, step), left, right, onto, how) }
        });
    }
}

const SHAPES: [[usize; 3]; 13] = [
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
    [40, 1000, 500],
];

#[test]
fn every_engine_multiplies_matrices_that_lie_either_way() {
    for (case, shape @ [m, n, k]) in SHAPES.into_iter().enumerate() {
        let (a, b, bias) = (numbers(2 * m * k, 1), numbers(2 * k * n, 2), numbers(n, 3));
        // Row by row, column by column, with gaps.
        for (left, right) in
            [([k, 1], [n, 1]), ([k, 1], [1, k]), ([1, m], [n, 1]), ([2 * k, 2], [2 * n, 2])]
        {
            let (left, right) =
                (Matrix { numbers: &a, steps: left }, Matrix { numbers: &b, steps: right });
            let bias = (case % 2 == 0).then_some(&bias[..]);
            let (step, cores) = (n + case % 3, if case % 4 == 0 { Cores::One } else { Cores::All });
            let sums = if case % 3 == 0 { Sums::Long } else { Sums::Short };
            let expected = defined(shape, left, right, bias);
            engines(|name, run| {
                let mut out = vec![f32::NAN; m * step];
                let to = Product { shape, out: out.as_mut_ptr(), step, left, right, bias };
                run(to, (cores, sums));
                for (at, (sum, size)) in expected.iter().enumerate() {
                    let got = f64::from(out[at / n * step + at % n]);
                    assert!(
                        (got - sum).abs() <= size * 2e-6,
                        "{name} {shape:?} at {at}: {got}, not {sum} of terms of {size}"
                    );
                }
                let between = out.iter().enumerate().filter(|(at, _)| at % step >= n);
                assert!(
                    between.into_iter().all(|(_, x)| x.is_nan()),
                    "{name} {shape:?} wrote between its rows"
                );
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
                Product { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
                (Cores::All, Sums::Short),
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
        run(
            Product { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
            (Cores::All, Sums::Short),
        );
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
                Product { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
                (Cores::All, Sums::Short),
            );
            assert!(
                out.iter().zip(&defined).all(|(&got, (sum, _))| f64::from(got) == *sum),
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
                    Product { shape, out: out.as_mut_ptr(), step: n, left, right, bias: None },
                    (Cores::All, Sums::Short),
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
fn the_chosen_set_multiplies() {
    for shape @ [m, n, k] in
        [[0, 3, 4], [3, 0, 4], [3, 4, 0], [7, 50, 30], [100, 50, 30], [100, 250, 600]]
    {
        let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
        let (left, right) =
            (Matrix { numbers: &a, steps: [k, 1] }, Matrix { numbers: &b, steps: [n, 1] });
        let mut out = vec![f32::NAN; m * n];
        // SAFETY: the vector has m rows of n elements.
        unsafe {
            product(
                shape,
                (out.as_mut_ptr(), n),
                left,
                right,
                Some(&bias),
                (Cores::All, Sums::Short),
            )
        };
        let expected = defined(shape, left, right, Some(&bias));
        for (got, (sum, size)) in out.iter().zip(&expected) {
            assert!((f64::from(*got) - sum).abs() <= size * 2e-6, "{shape:?}: {got}, not {sum}");
        }
        // Added once more.
        // SAFETY: as above, and the product has written all elements.
        unsafe { add_product(shape, (out.as_mut_ptr(), n), left, right) };
        for (at, (got, (sum, size))) in out.into_iter().zip(expected).enumerate() {
            let sum = 2.0 * sum - f64::from(bias[at % n]);
            assert!((f64::from(got) - sum).abs() <= size * 4e-6, "{shape:?}: {got}, not {sum}");
        }
    }
}
