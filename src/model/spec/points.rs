//! Which hook points a model has, in which order and of which sizes.

use super::{ExpertsSpec, NormPlace, Spec};
use crate::hook::{Dim, ModelKind, Point};

impl Spec {
    /// Whether the model has the point, in a layer at least.
    pub fn has(&self, point: Point) -> bool {
        self.why_absent(point).is_none()
    }

    /// Whether the model has the point in a layer.
    pub fn has_at(&self, point: Point, layer: usize) -> bool {
        self.why_absent_at(point, layer).is_none()
    }

    /// The layers that have the point.
    pub fn layers_with(&self, point: Point) -> Vec<usize> {
        (0..self.layers).filter(|layer| self.has_at(point, *layer)).collect()
    }

    /// Why the model lacks a point that others have; `None` if a layer has the point.
    pub fn why_absent(&self, point: Point) -> Option<&'static str> {
        let lacks = |kind| match kind {
            ModelKind::MixedMlp | ModelKind::WithoutExperts => {
                (0..self.layers).all(|layer| self.is(kind, layer))
            }
            _ => self.is(kind, 0),
        };
        point.absent().iter().find(|(kind, _)| lacks(*kind)).map(|(_, why)| *why)
    }

    /// Why a layer lacks a point that others have; `None` if it has the point.
    pub fn why_absent_at(&self, point: Point, layer: usize) -> Option<&'static str> {
        point.absent().iter().find(|(kind, _)| self.is(*kind, layer)).map(|(_, why)| *why)
    }

    /// The mixture of experts in a layer, if the layer has one.
    pub fn experts(&self, layer: usize) -> Option<&ExpertsSpec> {
        self.experts.as_ref().filter(|experts| experts.layers.get(layer) == Some(&true))
    }

    fn is(&self, kind: ModelKind, layer: usize) -> bool {
        match kind {
            ModelKind::MixedMlp => self.experts(layer).is_some(),
            ModelKind::WithoutExperts => self.experts(layer).is_none(),
            ModelKind::PlainMlp => !self.gated,
            ModelKind::WithoutFinalNorm => !self.final_norm,
            ModelKind::PlainQueries => self.rotary().is_none() && self.qk_norm.is_none(),
            ModelKind::PostNorm => self.norm_place == NormPlace::After,
            ModelKind::WithoutOutputNorms => {
                matches!(self.norm_place, NormPlace::Before | NormPlace::After | NormPlace::Stream)
            }
        }
    }

    /// Orders the points as a pass of this model reaches them, those of a block within the block.
    pub fn order(&self, point: Point) -> f32 {
        let place = |point: Point| point as usize as f32;
        match (self.norm_place, point) {
            (NormPlace::After, Point::AttnNormScale) => place(Point::PostAttn) + 0.5,
            (NormPlace::After, Point::MlpNormScale) => place(Point::PostMlp) + 0.5,
            (NormPlace::Outputs, Point::AttnNormScale) => place(Point::PostAttnNormScale) - 0.5,
            (NormPlace::Outputs, Point::MlpNormScale) => place(Point::PostMlpNormScale) - 0.5,
            _ => place(point),
        }
    }

    /// The size of a dimension, if the model determines it.
    pub fn size(&self, dim: Dim) -> Option<usize> {
        Some(match dim {
            Dim::Batch | Dim::Tokens | Dim::Attended | Dim::Predicted => return None,
            Dim::Embedding => self.embedding,
            Dim::Hidden => self.hidden,
            Dim::Heads => self.heads,
            Dim::KvHeads => self.kv_heads,
            Dim::HeadSize => self.head_dim,
            Dim::FeedForward => self.feed_forward,
            Dim::Experts => return self.experts.as_ref().map(|experts| experts.count),
            Dim::Vocabulary => self.vocabulary,
            Dim::One => 1,
        })
    }
}
