//! Mixtures of experts (Shazeer et al. 2017): how a router chooses experts for each token, and what
//! an expert is.

/// The mixture of experts that stands in an MLP's place in some or all layers.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertsSpec {
    /// x: the number of experts.
    pub count: usize,
    /// How many are chosen for a token.
    pub chosen: usize,
    /// The size of an expert's inner layer.
    pub feed_forward: usize,
    /// For each layer, whether it has the mixture in place of one MLP.
    pub layers: Vec<bool>,
    /// How the scores become shares.
    pub router: RouterSpec,
    /// The expert that every token has besides.
    pub shared: Option<SharedExpert>,
    /// In place of the model's activation (gpt-oss).
    pub clamped: Option<ClampedGate>,
}

/// A gated activation of clamped branches: g · σ(sharpness · g) · (u + 1), with the gate g = min(gate, limit) and
/// the other branch u within ± limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClampedGate {
    /// The largest gate, and the largest absolute value of the other branch.
    pub limit: f64,
    /// A factor on the gate within the logistic function.
    pub sharpness: f64,
}

/// How the router's scores of a token become the experts' shares.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterSpec {
    /// What is made of the scores before experts are chosen.
    pub scores: Scores,
    /// Whether the scores have a bias.
    pub bias: bool,
    /// Whether a stored correction joins the scores by which experts are chosen, and not the shares
    /// (DeepSeek 3).
    pub corrected: bool,
    /// The groups of which some alone are chosen from (DeepSeek).
    pub groups: Option<Groups>,
    /// The shares of the chosen are divided by their sum, or by this number if that is larger.
    pub normalised: Option<f64>,
    /// A factor on the shares.
    pub scale: f64,
}

/// What is made of a token's scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scores {
    /// Their softmax over all experts.
    Softmax,
    /// Their softmax over the chosen ones.
    SoftmaxOfChosen,
    /// The logistic function of each.
    Sigmoid,
}

/// Groups of neighbouring experts, from the best of which a token's experts are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// How many there are.
    pub count: usize,
    /// How many a token may have experts of.
    pub chosen: usize,
    /// By what groups are compared.
    pub by: GroupScore,
}

/// By what groups of experts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupScore {
    /// Their best expert.
    Best,
    /// The sum of their two best.
    TwoBest,
}

/// An expert that every token has, besides those that are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedExpert {
    /// The size of its inner layer.
    pub feed_forward: usize,
    /// Whether what it gives is multiplied by the logistic function of a score (Qwen2-MoE).
    pub gated: bool,
}

impl RouterSpec {
    /// The softmax of all scores, of which the largest are the shares.
    pub const SOFTMAX: Self = Self {
        scores: Scores::Softmax,
        bias: false,
        corrected: false,
        groups: None,
        normalised: None,
        scale: 1.0,
    };
}
