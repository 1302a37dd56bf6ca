//! A script for each way to call a differentiable function, and what its inputs are.

/// A script whose value is a tensor, or an array of tensors.
#[derive(Debug)]
pub struct Row {
    /// As the function is declared.
    pub name: &'static str,
    /// The variables: names, sizes of their dims, and what numbers they hold.
    pub inputs: &'static str,
    pub script: &'static str,
}

macro_rules! rows {
    ($($name:literal, $inputs:literal: $($script:literal)*;)*) => {
        &[$($(Row { name: $name, inputs: $inputs, script: $script },)*)*]
    };
}

pub const ROWS: &[Row] = rows! {
    "tensor", "x 2,3": "tensor(x)" "tensor(x, #{dtype: \"f64\"})";
    "for", "x 3,2": "let rows = []; for row in x { rows += row * row; } rows";
    // Indexing, with negative places, ranges, masks and places that repeat.
    "t[…]", "x 3,4": "x[1]" "x[-1][2]" "x[1..3]" "x[[.., 1..3]]" "x[[0..2, -1]]" "x[[1, 2]]";
    "t[…]", "x 3,4": "x[[[2, 0, 2]]]" "x[[.., [1, 1, 3]]]" "x[[[0, 2, 0], [1, 3, 1]]]" "x[x > 0.0]";
    "t[…]", "x 3,4": "x[tensor([[0, 1], [1, 1]])]" "x.T[1..3][0]" "x[[.., tensor([true, false, true, false])]]";
    "t[…]", "z 3,2 complex": "z[[[0, 0, 2]]]" "z[[.., 1]]";
    "t[…] = x", "x 3,4; y 4": "let t = x * 2.0; t[1] = y; t * x" "let t = zeros(3, 4, #{dtype: \"f64\"}); t[[.., 1]] = y[1..4]; t[0] = y; t * t";
    "t[…] = x", "x 3,4; y 4": "let t = x + 0.0; t[[[0, 2, 0], [1, 3, 1]]] = y[0..3]; t * t" "let t = x * x; t[x > 0.0] = 1.5; t + y" "let t = x * x; t[0] += y; t[2] *= y; t";
    "t[…] = x", "x 3,4; y 4": "let t = x * x; let u = t; u[1] = t[0] * y; t * t" "let t = x * x; t[0] = t[1]; t[[.., 0]] = y[0]; t" "let t = x.sin(); t[0] = 3.0; t";
    "t[…] = x", "x 3,4; y -": "let t = x * x; t[[1..3, ..]] = y * y; t" "let t = zeros(2, #{dtype: \"f64\"}); let same = t; t[0] = y; same * x[[0, 1..3]]";
    "t[…] = x", "z 3 complex; x 3": "let t = z * z; t[1] = x[0]; t" "let t = z * 2.0; t.real = x * x; t * t" "let t = z * 1.0; t.imag[0] = x[1]; t * t";
    "copy", "x 2,3": "let c = x.copy(); c[0] = 1.0; c * x" "x.T.copy() * 2.0";
    "narrow", "x 3,4": "x.narrow(1, 1, 2)";
    "select", "x 3,4": "x.select(1, -2)";
    "index_select", "x 3,4": "x.index_select(1, tensor([3, 0, 3]))" "x.T.index_select(0, tensor([1, 1]))";
    "gather", "x 3,4": "x.gather(1, tensor([[3, 3], [0, 1], [2, 2]]))" "x.gather(0, tensor([[0, 2, 2, -1]]))";
    "scatter", "x 3,4; y 3,2": "x.scatter(1, tensor([[3, 0], [1, 2], [0, 3]]), y)" "x.scatter(1, tensor([[1, 1], [1, 2], [0, 0]]), y)" "x.scatter(0, tensor([[1, 0]]), 2.5) + y[0][0]";
    "masked_fill", "x 3,4; y -": "x.masked_fill(x > 0.0, 1.5) * y" "x.masked_fill(tensor([true, false, true, false]), y)";
    "where", "x 3,4; y 4": "where(x > y, x * x, y)" "where(x > 0.0, y, 2.0)" "where(tensor([true, false, true, false]), x, y[0])";
    "where", "z 3 complex; y 3": "where(y > 0.0, z, y)";
    // Shapes.
    "reshape", "x 3,4": "x.reshape(2, -1) * arange(6)" "x.T.reshape(12)";
    "transpose", "x 2,3,2": "x.transpose(0, -1)";
    ".T", "x 3,2": "x.T * arange(3)";
    "permute", "x 2,3,2": "x.permute(1, 2, 0)";
    "unsqueeze", "x 3": "x.unsqueeze(0)";
    "squeeze", "x 1,3,1": "x.squeeze()" "x.squeeze(0)";
    "flatten", "x 2,3,2": "x.flatten(1)" "x.permute(2, 0, 1).flatten()";
    "cat", "x 2,3; y 1,3": "cat([x, y, x * y])" "cat([x.T, y.T], 1)" "cat([x, ones(2, 1)], -1)";
    "cat", "z 2 complex; y 3": "cat([z, y])";
    "stack", "x 2,3; y 2,3": "stack([x, y, y], 1)" "stack([x[0], y[1] * x[1]])";
    "split", "x 5,2": "x.split(2)" "x.split([1, 3, 1])" "x.split(1, 1)";
    "chunk", "x 5,2": "x.chunk(2)";
    "repeat", "x 2,3": "x.repeat(2, 1)" "x.repeat(2, 1, 2)";
    "repeat_interleave", "x 2,3": "x.repeat_interleave(2)" "x.repeat_interleave([2, 0], 0)" "x.repeat_interleave(3, 1)";
    "expand", "x 2,1": "x.expand(3, -1, 4)";
    "flip", "x 2,3": "x.flip(1)" "x.flip([0, 1])";
    "roll", "x 2,3": "x.roll(1, 1)" "x.roll(2)" "x.roll([1, -1], [0, 1])";
    "tril", "x 3,4": "x.tril()" "x.tril(-1)";
    "triu", "x 2,3,3": "x.triu()" "x.triu(1)";
    "diag", "x 3,3; y 3": "x.diag(1)" "y.diag()" "y.diag(-1)";
    "diagonal", "x 2,3,3": "x.diagonal(0, -2, -1)" "x.diagonal(1, 0, 2)";
    // Operators, broadcast in every way.
    "+", "x 3,4; y 4": "x + y" "x[[.., [0]]] + y" "x + 1.5" "2 + y" "+x";
    "+", "z 3 complex; y 3": "z + y" "y + z" "z + z";
    "-", "x 3,4; y 4": "x - y" "y - x" "x - 1" "2.5 - x" "-x";
    "-", "z 3 complex; y 2,1": "z - y" "y - z" "-z";
    "*", "x 3,4; y 4": "x * y" "x * x[[.., [0]]]" "x * 1.5" "x * tensor([true, false, true, false])" "x * arange(4)";
    "*", "z 3 complex; y 2,1": "z * y" "z * z" "z * z.conj()" "z * 2.0";
    "/", "x 3,4; y 4 pos": "x / y" "x / 2" "1 / y" "y / x";
    "/", "z 3 complex; w 3 complex; y 3 pos": "z / w" "z / y" "y / z" "1.0 / w";
    "%", "x 3,4; y 4 pos": "x % y" "x % 0.75" "7 % y" "x % -y";
    "**", "x 3,4 pos; y 4": "x ** y" "x ** 2" "x ** -1.5" "2.5 ** y" "y ** 2" "y ** 3" "x ** 0.5" "y ** 0" "y ** 1" "x ** arange(4)";
    "**", "z 2 complex; w 2 complex; x 2 pos": "z ** 2" "z ** -1" "z ** w" "x ** w" "z ** x" "z ** 0.5" "z ** 1.7" "2.5 ** w";
    "+=", "x 3,4; y 4": "let t = x * 1.0; t += y; t += 1; t * t" "let t = x * 1.0; let same = t; t += t; same * t";
    "+=", "z 3 complex; y 3": "let t = z * 1.0; t += y; t * t";
    "-=", "x 3,4; y 4": "let t = x * 1.0; t -= y; t -= 1; t * t" "let t = ones(3, 4, #{dtype: \"f64\"}); t -= y * x; t * t";
    "*=", "x 3,4; y 4": "let t = x * 1.0; t *= y; t *= 2; t * t";
    "/=", "x 3,4; y 4 pos": "let t = x * 1.0; t /= y; t /= 2; t * t";
    "%=", "x 3,4; y 4 pos": "let t = x * 1.0; t %= y; t * t";
    "**=", "x 3,4 pos; y 4": "let t = x * 1.0; t **= y; t **= 2; t";
    "minimum", "x 3,4; y 4": "minimum(x, y)" "minimum(x, 0.3)" "minimum(-0.2, x)";
    "maximum", "x 3,4; y 4": "maximum(x, y)" "maximum(x, 0)" "maximum(x, x[0])";
    // Functions of each element.
    "exp", "x 3,4": "x.exp()";
    "expm1", "x 3,4": "x.expm1()";
    "log", "x 3,4 pos": "x.log()";
    "log2", "x 3,4 pos": "x.log2()";
    "log10", "x 3,4 pos": "x.log10()";
    "log1p", "x 3,4 pos": "x.log1p()";
    "sqrt", "x 3,4 pos": "x.sqrt()" "x.T.sqrt()";
    "rsqrt", "x 3,4 pos": "x.rsqrt()";
    "sin", "x 3,4": "x.sin()";
    "cos", "x 3,4": "x.cos()";
    "tanh", "x 3,4": "x.tanh()" "(x * 10).tanh()";
    "sigmoid", "x 3,4": "x.sigmoid()" "(x * 20).sigmoid()";
    "gelu", "x 3,4": "x.gelu()" "x.gelu(#{approximate: \"tanh\"})" "(x * 8).gelu()" "(x * 8).gelu(#{approximate: \"tanh\"})";
    "silu", "x 3,4": "x.silu()" "(x * 20).silu()";
    "erf", "x 3,4": "x.erf()";
    "abs", "x 3,4; z 3 complex": "x.abs()" "z.abs()";
    "relu", "x 3,4": "x.relu()";
    "clamp", "x 3,4; y 4; w 3,1": "x.clamp(-0.5, 0.5)" "x.clamp(#{min: 0.2})" "x.clamp(#{max: 0.2})" "x.clamp(y, w)" "x.clamp(-0.1, w)" "x.clamp(#{max: y})" "x.clamp(y, 0.4)";
    "round", "x 3,4": "(x * 3).round()";
    "floor", "x 3,4": "(x * 3).floor()";
    "ceil", "x 3,4": "(x * 3).ceil()";
    "sign", "x 3,4": "x.sign()";
    ".real", "z 3 complex; x 3": "(z * z).real" "(x * x).real";
    ".imag", "z 3 complex; x 3": "(z * z).imag" "x.to(\"c128\").imag" "x.imag" "let t = zeros(3).to(\"c128\"); t.imag = x; [t.real, t.imag * t]";
    "angle", "z 3 complex": "z.angle()";
    "conj", "z 3 complex; x 3": "z.conj() * z * z" "x.conj()";
    "to", "x 3": "x.to(\"c128\") * x" "x.to(\"f64\").to(\"cpu\")" "x.to(\"c128\").to(\"c128\").abs()";
    "cpu", "x 3": "x.cpu()";
    // Reductions.
    "sum", "x 2,3,4": "x.sum()" "x.sum(1)" "x.sum([0, -1])" "x.sum(#{dim: 1, keepdim: true})";
    "sum", "z 2,3 complex": "z.sum(0)" "(z * z).sum()";
    "mean", "x 2,3,4; z 2,3 complex": "x.mean()" "x.mean(1)" "x.mean(#{dim: [0, 2], keepdim: true})" "z.mean(1)";
    "var", "x 2,3,4": "x.var()" "x.var(1)" "x.var(#{dim: [0, 2], correction: 0})";
    "std", "x 2,3,4": "x.std()" "x.std(1)" "x.std(#{dim: -1, unbiased: false, keepdim: true})";
    "min", "x 3,4 apart": "x.min()" "x.min(0)" "x.min(#{dim: 1, keepdim: true})";
    "max", "x 3,4 apart": "x.max()" "x.max(0)" "x.max([0, 1])";
    "norm", "x 3,4": "x.norm()" "x.norm(1)" "x.norm(#{p: 1, dim: 0})" "x.norm(#{p: 3})" "x.norm(#{p: 1.5, dim: 1})" "x.norm(#{p: inf, dim: 1})" "x.norm(#{p: -inf})" "x.norm(#{p: 0.5, dim: 0})" "x.norm(#{p: -1})";
    "prod", "x 3,4": "x.prod()" "x.prod(1)" "(x * tensor([1.0, 0.0, 1.0, 1.0])).prod(1)" "x.masked_fill(x > 0.5, 0.0).prod(0)";
    "logsumexp", "x 3,4": "x.logsumexp()" "x.logsumexp(1)" "(x * 500).logsumexp(0) / 100" "cat([x, zeros(3, 1) - inf], 1).logsumexp(1)";
    "quantile", "x 3,4 apart": "x.quantile(0.3)" "x.quantile([0.0, 0.5, 0.9, 1.0], 1)" "x.quantile(0.25, #{dim: 0, keepdim: true})";
    "median", "x 3,4 apart": "x.median()" "x.median(0)" "x.median(1)";
    "cumsum", "x 3,4; y -": "x.cumsum(0)" "x.cumsum(-1)" "y.cumsum(0)";
    "diff", "x 3,4": "x.diff()" "x.diff(2, 0)" "x.diff(#{dim: 0})";
    "diff", "z 3 complex": "z.diff()";
    "softmax", "x 3,4": "x.softmax(-1)" "x.softmax(0)" "(x * 30).softmax(1)" "cat([x, zeros(3, 1) - inf], 1).softmax(1)";
    "log_softmax", "x 3,4": "x.log_softmax(-1)" "x.log_softmax(0)" "(x * 300).log_softmax(1) / 100";
    "topk", "x 3,4 apart": "x.topk(2).values" "x.topk(2, #{dim: 0, largest: false}).values";
    "sort", "x 3,4 apart; y -": "x.sort().values" "x.sort(#{dim: 0, descending: true}).values" "y.sort().values";
    // Neural networks.
    "layer_norm", "x 3,4; w 4; b 4": "x.layer_norm()" "x.layer_norm(w, b)" "(x + 100).layer_norm(w)" "x.layer_norm(#{weight: w, bias: b, eps: 0.1})";
    "rms_norm", "x 3,4; w 4": "x.rms_norm()" "x.rms_norm(w)" "(x * 1000).rms_norm(w, #{eps: 0.1})";
    "cross_entropy", "x 3,4": "cross_entropy(x, tensor([0, 3, 1]))" "cross_entropy(x, tensor([0, -100, 1]))" "cross_entropy(x, tensor([-100, 2, 1]), #{reduction: \"none\"})" "cross_entropy(x * 200, tensor([0, 3, 1]), #{reduction: \"sum\"}) / 100";
    "kl_divergence", "x 2,3; y 3": "kl_divergence(x, y)" "kl_divergence(y, x)" "kl_divergence(cat([x, zeros(2, 1) - inf], 1), cat([y, zeros(1)]))" "kl_divergence(x * 20, x * 10)";
    // Linear algebra.
    "matmul", "x 2,3,4; y 4,2": "x.matmul(y)" "x.matmul(y[[.., 0]])" "y.T.matmul(x.transpose(1, 2))" "x[[0, 1]].matmul(y)" "x.matmul(x.transpose(1, 2))";
    "matmul", "z 2,3 complex; w 3,2 complex; x 3": "z.matmul(w)" "z.matmul(x)";
    "einsum", "x 2,3,4; y 4,2; w 3": "einsum(\"bij,jk->bik\", x, y)" "einsum(\"bij,jb->i\", x, y)" "einsum(\"ij,j,i->\", x[0], x[1][0], w)" "einsum(\"ij->ji\", y)" "einsum(\"...i,i...->...\", x[0], y[[.., 0]])" "einsum(\"batch row column, column batch -> row batch\", x, y)";
    "einsum", "x 3,3; y 3; z 3,2 complex": "einsum(\"ii->i\", x)" "einsum(\"ii->\", x)" "einsum(\"ij,i,j->ij\", [x, y, y])" "einsum(\"ij,jk->ik\", x, z)" "einsum(\"ij,ij->\", x, x)";
    "dot", "x 4; y 4": "dot(x, y)" "dot(x, x)";
    "outer", "x 3; y 4": "outer(x, y)";
    "cosine_similarity", "x 3,4; y 4": "cosine_similarity(x, y)" "cosine_similarity(x, y, 0)" "cosine_similarity(y, y * y)" "cosine_similarity(x, x[0], #{dim: -1})";
    "cov", "x 3,5; y 4": "x.cov()" "x.cov(#{correction: 0})" "y.cov()";
    "corrcoef", "x 3,5": "x.corrcoef()" "(x + 10.0).corrcoef()";
    "svd", "x 4,3": "x.svd().u" "x.svd().s" "x.svd().vh" "let d = x.T.svd(); [d.u, d.s, d.vh]";
    "svd", "x 2,3,3": "let d = x.svd(); [d.u, d.s, d.vh]" "let d = x.svd(); (d.u * d.s.unsqueeze(-2)).matmul(d.vh)";
    "eigh", "x 2,3,3": "(x + x.transpose(1, 2)).eigh().values" "(x + x.transpose(1, 2)).eigh().vectors";
    "eig", "x 3,3": "let e = x.eig(); [e.values, e.vectors]" "let e = x.eig(); e.vectors.abs()" "x.eig().vectors";
    "eigvals", "x 2,3,3": "(x.eigvals() ** 2).sum(1)" "x.eigvals().abs().sum(1)";
    "qr", "x 4,3": "x.qr().q" "x.qr().r" "let d = x.T.qr(); [d.q, d.r]";
    "qr", "x 2,3,3": "let d = x.qr(); [d.q, d.r]";
    "pca", "x 6,3": "let p = x.pca(2); [p.components, p.explained_variance, p.mean, p.projected]";
    "lstsq", "a 4,3; b 4; c 4,2": "lstsq(a, b)" "lstsq(a, c)" "lstsq(a.T, c[0..3])" "lstsq(a[0..3], b[0..3])";
    "solve", "a 2,3,3; b 3; c 2,3,2": "solve(a, b)" "solve(a, c)" "solve(a[0], c)" "solve(a[1], b)";
    "inv", "a 2,3,3": "a.inv()";
    "pinv", "a 4,3": "a.pinv()" "a.T.pinv()" "a[0..3].pinv()";
    "det", "a 2,3,3; b 3": "a.det()" "outer(b, b).det() + b[0]" "(a[0] * tensor([1.0, 1.0, 0.0])).det()";
    "trace", "a 3,4": "a[[.., 0..3]].trace()";
    "matrix_exp", "a 2,3,3": "a.matrix_exp()" "(a * 5).matrix_exp() / 1000";
    // Fourier transforms, of real and complex numbers, cut and padded, of even and odd length.
    "fft", "x 3,4; z 3,5 complex": "x.fft()" "x.fft(0)" "z.fft()" "z.fft(#{dim: 0, n: 2, norm: \"ortho\"})" "x.fft(#{n: 7, norm: \"forward\"})" "x.fft().abs()";
    "ifft", "x 3,4; z 3,5 complex": "x.ifft()" "z.ifft(0)" "z.ifft(#{n: 8, norm: \"ortho\"})" "z.ifft(#{n: 3, norm: \"forward\"})" "(z.fft() * z).ifft().real";
    "rfft", "x 3,4; y 5": "x.rfft()" "x.rfft(0)" "y.rfft()" "y.rfft(#{n: 8, norm: \"ortho\"})" "y.rfft(#{n: 3, norm: \"forward\"})" "x.rfft().abs()";
    "irfft", "z 3,4 complex; x 3": "z.irfft()" "z.irfft(0)" "z.irfft(#{n: 7, norm: \"ortho\"})" "z.irfft(#{n: 4, norm: \"forward\"})" "z.irfft(#{n: 12})" "x.irfft()" "(x.rfft() * x.rfft()).irfft(#{n: 3})";
    "fftshift", "x 3,4; z 3 complex": "x.fftshift()" "x.fftshift(1)" "z.fftshift()";
    "ifftshift", "x 3,4": "x.ifftshift()" "x.ifftshift(0)";
};
