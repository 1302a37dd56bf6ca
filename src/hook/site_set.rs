//! Sets of sites, which the forward pass asks at every point.

use super::point::Point;
use super::site::{Layers, Site};
use crate::Result;

/// A set of the sites of one model, one bit for each.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteSet {
    outside: PointSet,
    /// Of each block.
    blocks: Vec<PointSet>,
    /// Those of each block that were asked for by the layer, and not because all layers were.
    by_layer: Vec<PointSet>,
}

impl SiteSet {
    /// The empty set, for a model with `layers` blocks.
    pub fn new(layers: usize) -> Self {
        let blocks = vec![PointSet::EMPTY; layers];
        Self { outside: PointSet::EMPTY, by_layer: blocks.clone(), blocks }
    }

    /// # Panics
    /// The site's layer is not one of the model's.
    pub fn insert(&mut self, site: Site) {
        match site.layer {
            Some(layer) => {
                self.blocks[layer].insert(site.point);
                self.by_layer[layer].insert(site.point);
            }
            None => self.outside.insert(site.point),
        }
    }

    /// Inserts the sites of `point` in `layers`. A point outside the blocks has one site, and its
    /// `layers` mean nothing.
    ///
    /// # Errors
    /// The model does not have one of the layers.
    pub fn insert_all(&mut self, point: Point, layers: &Layers) -> Result<()> {
        if !point.in_block() {
            self.insert(Site { point, layer: None });
            return Ok(());
        }
        match layers {
            Layers::All => self.blocks.iter_mut().for_each(|block| block.insert(point)),
            some => {
                for layer in some.resolve(self.blocks.len())? {
                    self.insert(Site { point, layer: Some(layer) });
                }
            }
        }
        Ok(())
    }

    /// Removes the sites of layers of which `has` is false, where they are in the set because a point
    /// was asked for in all layers: these are all that have it.
    pub fn retain_in_all(&mut self, has: impl Fn(Point, usize) -> bool) {
        for (layer, (block, by_layer)) in self.blocks.iter_mut().zip(&self.by_layer).enumerate() {
            let points: Vec<Point> = block.iter().collect();
            for point in points {
                if !by_layer.contains(point) && !has(point, layer) {
                    block.remove(point);
                }
            }
        }
    }

    /// Inserts all of `other`, a set for the same model.
    pub fn union(&mut self, other: &SiteSet) {
        self.outside.union(&other.outside);
        self.blocks.iter_mut().zip(&other.blocks).for_each(|(mine, theirs)| mine.union(theirs));
        self.by_layer.iter_mut().zip(&other.by_layer).for_each(|(mine, theirs)| mine.union(theirs));
    }

    /// # Panics
    /// The site's layer is not one of the model's.
    #[inline]
    pub fn contains(&self, site: Site) -> bool {
        match site.layer {
            Some(layer) => self.blocks[layer].contains(site.point),
            None => self.outside.contains(site.point),
        }
    }

    /// The sites outside the blocks, then those of each block, in the order of the points.
    pub fn iter(&self) -> impl Iterator<Item = Site> + '_ {
        let in_blocks = self.blocks.iter().enumerate().flat_map(|(layer, points)| {
            points.iter().map(move |point| Site { point, layer: Some(layer) })
        });
        self.outside.iter().map(|point| Site { point, layer: None }).chain(in_blocks)
    }
}

/// A set of points, one bit for each.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PointSet([u64; WORDS]);

const WORDS: usize = Point::COUNT.div_ceil(64);

impl PointSet {
    const EMPTY: Self = Self([0; WORDS]);

    fn insert(&mut self, point: Point) {
        self.0[point as usize / 64] |= 1 << (point as usize % 64);
    }

    fn remove(&mut self, point: Point) {
        self.0[point as usize / 64] &= !(1 << (point as usize % 64));
    }

    #[inline]
    fn contains(&self, point: Point) -> bool {
        self.0[point as usize / 64] & 1 << (point as usize % 64) != 0
    }

    fn union(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    fn iter(&self) -> impl Iterator<Item = Point> + '_ {
        Point::ALL.into_iter().filter(|point| self.contains(*point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut set = SiteSet::new(3);
        set.insert_all(Point::PostMlp, &Layers::Some(vec![0, 2])).unwrap();
        set.insert_all(Point::Logits, &Layers::All).unwrap();
        let names: Vec<String> = set.iter().map(|s| s.to_string()).collect();
        assert_eq!(names, ["logits", "post-mlp@0", "post-mlp@2"]);
    }

    #[test]
    fn all_layers_are_those_that_have_a_point() {
        let mut set = SiteSet::new(3);
        set.insert_all(Point::RouterLogits, &Layers::All).unwrap();
        set.insert_all(Point::RouterLogits, &Layers::one(0)).unwrap();
        set.retain_in_all(|_, layer| layer == 2);
        let names: Vec<String> = set.iter().map(|s| s.to_string()).collect();
        // What was asked for by its layer stays, for the pass to refuse.
        assert_eq!(names, ["router-logits@0", "router-logits@2"]);
    }
}
