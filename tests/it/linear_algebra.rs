//! Functions of matrices, against identities and known values: batched, in float32 and float64, of
//! no elements, and the sentences of what has no answer.

use crate::snippet::{all_fail, all_show, error, shown};

/// The largest difference between two tensors, as a script that defines `a`, `b` … computes it.
#[track_caller]
fn near(setup: &str, left: &str, right: &str, most: f64) {
    let script = format!("seed(3); {setup} (({left}) - ({right})).abs().max().to(\"f64\").item()");
    let off: f64 = shown(&script).parse().unwrap();
    assert!(off <= most, "{left} and {right} differ by {off} after {setup}");
}

const SHAPES: [&str; 4] = ["[5, 5]", "[3, 4, 4]", "[2, 1, 6, 6]", "[1, 1]"];

#[test]
fn identities_hold() {
    for (dtype, most) in [("f32", 3e-4), ("f64", 1e-11)] {
        for shape in SHAPES {
            let setup = format!(
                "let a = randn({shape}, #{{dtype: \"{dtype}\"}}); let n = a.shape[-1]; let eye = eye(n, #{{dtype: \"{dtype}\"}});
                 let b = randn(a.shape, #{{dtype: \"{dtype}\"}});"
            );
            near(&setup, "a.matmul(a.inv())", "eye", most);
            near(&setup, "a.matmul(solve(a, b))", "b", most);
            near(
                &setup,
                "a.matmul(solve(a, b.select(-1, 0)).unsqueeze(-1)).squeeze(-1)",
                "b.select(-1, 0)",
                most,
            );
            near(&setup, "a.matmul(b).det()", "a.det() * b.det()", most * 10.0);
            near(&setup, "a.pinv()", "a.inv()", most * 10.0);
            near(&setup, "a.matrix_exp().matmul((-a).matrix_exp())", "eye", most * 10.0);
            near(
                &setup,
                "a.matrix_exp().det().log()",
                "a.diagonal(0, -2, -1).sum(-1)",
                most * 10.0,
            );
            near(&setup, "a.eigvals().real.sum(-1)", "a.diagonal(0, -2, -1).sum(-1)", most);
            near(&setup, "a.eigvals().imag.sum(-1)", "zeros(1)", most);
            near(&setup, "a.eig().values.abs().prod(-1)", "a.det().abs()", most * 10.0);
            // A v = λ v, part by part: A is real.
            near(
                &setup,
                "a.matmul(a.eig().vectors.real)",
                "{ let e = a.eig(); (e.vectors * e.values.unsqueeze(-2)).real }",
                most,
            );
            near(&setup, "a.eig().vectors.abs().norm(-2)", "ones(1)", most);
            assert_eq!(
                shown(&format!(
                    "{setup} [a.det().dtype, a.inv().dtype, a.eig().values.dtype == (if a.dtype == \"f32\" {{ \"c64\" }} else {{ \"c128\" }})]"
                )),
                format!("[\"{dtype}\", \"{dtype}\", true]")
            );
        }
        for (m, n) in [(5, 3), (3, 5)] {
            let setup =
                format!("let a = randn([2, {m}, {n}], #{{dtype: \"{dtype}\"}}); let p = a.pinv();");
            near(&setup, "a.matmul(p).matmul(a)", "a", most);
            near(&setup, "p.matmul(a).matmul(p)", "p", most);
            near(&setup, "a.matmul(p)", "a.matmul(p).transpose(-2, -1)", most);
        }
    }
}

#[test]
fn known_values() {
    near(
        "let h = 1.0 / (arange(5).unsqueeze(1) + arange(5) + 1).to(\"f64\");",
        "h.det() * 266716800000.0",
        "ones(1)",
        1e-5,
    );
    near(
        "let h = 1.0 / (arange(4).unsqueeze(1) + arange(4) + 1).to(\"f64\");",
        "h.inv()[0]",
        "tensor([16, -120, 240, -140])",
        1e-9,
    );
    // Rotations: exp of the generator turns by the angle, whose eigenvalues are e^±i.
    near(
        "let r = tensor([[0.0, -1.0], [1.0, 0.0]], #{dtype: \"f64\"}) * 100.0;",
        "r.matrix_exp()",
        "stack([stack([tensor(100.0, #{dtype: \"f64\"}).cos(), -tensor(100.0, #{dtype: \"f64\"}).sin()]), stack([tensor(100.0, #{dtype: \"f64\"}).sin(), tensor(100.0, #{dtype: \"f64\"}).cos()])])",
        1e-12,
    );
    near("", "tensor([[0, 1], [0, 0]]).matrix_exp()", "tensor([[1, 1], [0, 1]])", 0.0);
    near(
        "",
        "diag(tensor([-1.0, 0.0, 3.0])).matrix_exp().diag()",
        "tensor([-1.0, 0.0, 3.0]).exp()",
        2e-6,
    );
    all_show(&[
        ("tensor([[0, 1], [1, 0]]).det()", "tensor [] f32 cpu: -1.0"),
        ("tensor([[1, 2], [2, 4]]).det()", "tensor [] f32 cpu: 0.0"),
        ("tensor([[0, 2, 0], [0, 0, 3], [4, 0, 0]]).det()", "tensor [] f32 cpu: 24.0"),
        (
            "tensor([[1.0, 2.0], [2.0, 4.0]]).pinv() * 25.0",
            "tensor [2, 2] f32 cpu: [[1.0, 2.0], [2.0, 4.0]]",
        ),
        (
            "tensor([[1.0, 0.0], [0.0, 0.1]]).pinv(#{rtol: 0.5})",
            "tensor [2, 2] f32 cpu: [[1.0, 0.0], [0.0, 0.0]]",
        ),
        (
            "tensor([[0.0, -2.0], [2.0, 0.0]]).eigvals().imag.sort().values",
            "tensor [2] f32 cpu: [-2.0, 2.0]",
        ),
        (
            "solve(eye(2), tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))",
            "tensor [2, 3] f32 cpu: [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]",
        ),
        ("solve(eye(2).unsqueeze(0), ones(3, 2, 1)).shape", "[3, 2, 1]"),
        ("solve(eye(2).expand(4, 2, 2), tensor([1.0, 2.0])).shape", "[4, 2]"),
        ("solve(eye(2).expand(4, 2, 2), ones(4, 2)).shape", "[4, 2]"),
    ]);
}

#[test]
fn nothing_in_is_nothing_out() {
    all_show(&[
        ("zeros(0, 0).det()", "tensor [] f32 cpu: 1.0"),
        (
            "[zeros(0, 0).inv().shape, zeros(2, 0, 0).matrix_exp().shape, zeros(0, 3, 3).inv().shape]",
            "[[0, 0], [2, 0, 0], [0, 3, 3]]",
        ),
        (
            "[zeros(0, 0).eigvals().shape, zeros(3, 0, 0).eig().vectors.shape, zeros(0, 3, 3).eigvals().shape]",
            "[[0], [3, 0, 0], [0, 3]]",
        ),
        (
            "[solve(zeros(0, 0), zeros(0, 2)).shape, solve(eye(2), zeros(2, 0)).shape, solve(zeros(0, 2, 2), zeros(0, 2)).shape]",
            "[[0, 2], [2, 0], [0, 2]]",
        ),
        (
            "[zeros(0, 3).pinv().shape, zeros(0, 0).trace().item(), zeros(0).diag().shape]",
            "[[3, 0], 0.0, [0, 0]]",
        ),
        ("[zeros(0, 2, 2).det().shape, zeros(2, 0, 3).pinv().shape]", "[[0], [2, 3, 0]]"),
    ]);
}

#[test]
fn diagonals_are_pytorchs() {
    all_show(&[
        ("arange(6).reshape(2, 3).diag(1)", "tensor [2] i64 cpu: [1, 5]"),
        ("arange(6).reshape(2, 3).diag(-1)", "tensor [1] i64 cpu: [3]"),
        ("arange(6).reshape(2, 3).diag(9)", "tensor [0] i64 cpu: empty"),
        ("tensor([1, 2]).diag(-1)", "tensor [3, 3] i64 cpu: [[0, 0, 0], [1, 0, 0], [0, 2, 0]]"),
        ("tensor([true, false]).diag()", "tensor [2, 2] bool cpu: [[true, false], [false, false]]"),
        (
            "tensor([1.0]).to(\"c64\").diag(1)",
            "tensor [2, 2] c64 cpu: [[0.0+0.0i, 1.0+0.0i], [0.0+0.0i, 0.0+0.0i]]",
        ),
        (
            "arange(24).reshape(2, 3, 4).diagonal().to_array()",
            "[[0, 16], [1, 17], [2, 18], [3, 19]]",
        ),
        (
            "arange(24).reshape(2, 3, 4).diagonal(1, 1, 2)",
            "tensor [2, 3] i64 cpu: [[1, 6, 11], [13, 18, 23]]",
        ),
        (
            "arange(24).reshape(2, 3, 4).diagonal(#{dim1: -1, dim2: 0}).to_array()",
            "[[0, 13], [4, 17], [8, 21]]",
        ),
        (
            "(tensor([[-4.0, 0.0], [0.0, -9.0]]).to(\"c64\") ** 0.5).trace()",
            "tensor [] c64 cpu: 0.0+5.0i",
        ),
        ("tensor([[true, false], [false, true]]).trace()", "tensor [] i64 cpu: 2"),
        (
            "[tensor(5).T.item(), tensor([1, 2]).T.shape, arange(6).reshape(2, 3).T.T == arange(6).reshape(2, 3)]",
            "[5, [2], tensor [2, 3] bool cpu: [[true, true, true], [true, true, true]]]",
        ),
        (
            "let x = zeros(2, 3); x.T[2] = 1.0; x.T.sum(); x",
            "tensor [2, 3] f32 cpu: [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]",
        ),
        (
            "let x = zeros(2, 3); x.T = arange(6).reshape(3, 2); x",
            "tensor [2, 3] f32 cpu: [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]",
        ),
    ]);
    all_fail(&[
        ("zeros(2, 2, 2).diag()", "diag needs a vector or a matrix, not a tensor [2, 2, 2]"),
        ("tensor(1.0).diag()", "diag needs a vector or a matrix, not a tensor []"),
        ("tensor([1]).diagonal()", "diagonal needs at least two dims, and a tensor [1] has 1"),
        ("zeros(2, 2).diagonal(0, 1, -1)", "diagonal: dim 1 is named twice in [1, -1]"),
        ("zeros(2, 2, 2).trace()", "trace needs a matrix, not a tensor [2, 2, 2]"),
        ("zeros(2, 3, 4).T", "T turns a matrix, and a tensor [2, 3, 4] has 3 dims"),
        (
            "tensor([1, 2]).diag(9223372036854775807)",
            "a tensor [9223372036854775807, 9223372036854775807] does not fit in memory",
        ),
    ]);
}

#[test]
fn what_has_no_answer_is_a_sentence() {
    let functions = ["det", "inv", "eig", "eigvals", "matrix_exp"];
    for name in functions {
        assert_eq!(
            error(&format!("zeros(2, 3).{name}()")),
            format!("{name} needs square matrices, not [2, 3]")
        );
        assert_eq!(
            error(&format!("zeros(3).{name}()")),
            format!("{name} needs a matrix, not a tensor [3]")
        );
        assert_eq!(
            error(&format!("tensor([[nan]]).{name}()")),
            format!("{name}: the tensor [1, 1] has elements that are nan or inf")
        );
        assert_eq!(
            error(&format!("eye(2).to(\"c64\").{name}()")),
            format!("{name} needs a real tensor, and this one is complex")
        );
    }
    all_fail(&[
        ("tensor([[1, 2], [2, 4]]).inv()", "inv: the matrix [2, 2] is singular: it has no inverse"),
        (
            "stack([eye(2), zeros(2, 2)]).inv()",
            "inv: a matrix of [2, 2, 2] is singular: it has no inverse",
        ),
        ("solve(zeros(2, 2), ones(2))", "solve: the matrix [2, 2] is singular: it has no inverse"),
        ("solve(eye(2), ones(3))", "solve: shapes [2, 2] and [3] do not fit"),
        ("solve(eye(2), ones(3, 1))", "solve: shapes [2, 2] and [3, 1] do not fit"),
        (
            "solve(eye(2).expand(2, 2, 2), ones(3, 2, 1))",
            "solve: shapes [2] and [3] do not broadcast: 2 against 3",
        ),
        ("solve(zeros(2, 3), ones(2))", "solve needs square matrices, not [2, 3]"),
        (
            "tensor([[1000.0, 1.0], [0.0, 1000.0]]).matrix_exp()",
            "matrix_exp: the exponential of the matrix [2, 2] is larger than a float can be",
        ),
        ("eye(2).pinv(#{rtol: -1})", "pinv: rtol must be 0 or more, not -1"),
    ]);
}

#[test]
fn what_differs_is_found_once() {
    all_show(&[
        ("tensor([2.0, nan, 1.0, nan, 2.0]).unique()", "tensor [4] f32 cpu: [1.0, 2.0, nan, nan]"),
        ("tensor([[1, 2], [1, 2], [0, 5]]).unique(0)", "tensor [2, 2] i64 cpu: [[0, 5], [1, 2]]"),
        (
            "tensor([[1, 1, 0], [2, 2, 5]]).unique(#{dim: 1, return_counts: true}).counts",
            "tensor [2] i64 cpu: [1, 2]",
        ),
        (
            "tensor([[3, 1], [1, 3]]).unique(#{return_inverse: true}).inverse",
            "tensor [2, 2] i64 cpu: [[1, 0], [0, 1]]",
        ),
        ("tensor([true, false, true]).unique()", "tensor [2] bool cpu: [false, true]"),
        ("zeros(0).unique()", "tensor [0] f32 cpu: empty"),
        ("tensor(4).unique()", "tensor [1] i64 cpu: [4]"),
        ("tensor([0.0, -0.0]).unique().numel", "1"),
        ("tensor([3, 3]).unique(#{return_counts: true}).keys()", "[\"counts\", \"values\"]"),
    ]);
    assert_eq!(
        error("tensor([1.0]).to(\"c64\").unique()"),
        "unique needs a real tensor, and this one is complex"
    );
}

#[test]
fn draws_follow_their_weights() {
    all_show(&[
        (
            "seed(1); let a = randperm(100); seed(1); [a.sort().values == arange(100), a == randperm(100), a == arange(100)].map(|t| t.all().item())",
            "[true, true, false]",
        ),
        ("[randperm(0).shape, randperm(3, #{dtype: \"f32\"}).dtype]", "[[0], \"f32\"]"),
        // Twice as likely: within five standard deviations of 2/3.
        (
            "seed(2); let d = tensor([1.0, 2.0, 0.0]).multinomial(9000, #{replacement: true}); let share = d.to(\"f32\").mean().item(); [(share - 2.0 / 3.0).abs() < 0.025, d.max().item()]",
            "[true, 1]",
        ),
        (
            "seed(2); let d = zeros(3000, 3) + tensor([1.0, 2.0, 3.0]); let first = d.multinomial(1).to(\"f32\").mean().item(); (first - 8.0 / 6.0).abs() < 0.07",
            "true",
        ),
        (
            "let d = tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 3.0]]).multinomial(2); d.sort().values",
            "tensor [2, 2] i64 cpu: [[0, 1], [1, 2]]",
        ),
        (
            "tensor([1e-40, 1e308], #{dtype: \"f64\"}).multinomial(2).sort().values",
            "tensor [2] i64 cpu: [0, 1]",
        ),
    ]);
    all_fail(&[
        ("randperm(-1)", "a shape's sizes are 0 or more, and [-1] has -1"),
        ("randperm(300, #{dtype: \"u8\"})", "randperm: u8 does not hold the numbers below 300"),
        (
            "tensor([1.0, -1.0]).multinomial(1)",
            "multinomial: weights are 0 or more and finite, and one is -1",
        ),
        (
            "tensor([1.0, nan]).multinomial(1)",
            "multinomial: weights are 0 or more and finite, and one is NaN",
        ),
        ("tensor([0.0, 0.0]).multinomial(1)", "multinomial: a row of weights has none above 0"),
        (
            "tensor([1.0, 0.0]).multinomial(2)",
            "multinomial: 2 draws without replacement, and a row has 1 weights above 0",
        ),
        ("tensor([1.0]).multinomial(0)", "multinomial draws at least once, not 0 times"),
        ("tensor([1]).multinomial(1)", "multinomial needs float weights, not i64"),
        (
            "zeros(1, 1, 1).multinomial(1)",
            "multinomial needs weights [n] or [m, n], not a tensor [1, 1, 1]",
        ),
    ]);
}

#[test]
fn elements_that_are_no_numbers_are_found() {
    all_show(&[
        (
            "let z = rfft(tensor([1.0, inf])); [z.isnan().any().item(), z.isfinite().all().item()]",
            "[true, false]",
        ),
        ("tensor([1, 2]).isfinite()", "tensor [2] bool cpu: [true, true]"),
        ("tensor([true]).isnan()", "tensor [1] bool cpu: [false]"),
        ("tensor([inf, 1.0], #{dtype: \"f16\"}).isinf()", "tensor [2] bool cpu: [true, false]"),
        ("(tensor([70000.0]).to(\"f16\")).isinf()", "tensor [1] bool cpu: [true]"),
        (
            "[log10(tensor([1e-3], #{dtype: \"f64\"})).item(), tensor([1e-12], #{dtype: \"f64\"}).log1p().item() == 1e-12.log1p()]",
            "[-3.0, true]",
        ),
        ("tensor([-1.0, -2.0]).log1p()", "tensor [2] f32 cpu: [-inf, nan]"),
        ("tensor([1e-10, 1000.0]).expm1()", "tensor [2] f32 cpu: [1.0e-10, inf]"),
    ]);
    for name in ["log1p", "expm1", "log10"] {
        assert_eq!(
            error(&format!("tensor([1.0]).to(\"c64\").{name}()")),
            format!("{name} needs a real tensor, and this one is complex")
        );
    }
}
