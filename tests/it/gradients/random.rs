//! Random numbers, shapes and views for [`drawn`](super::drawn) cases.

/// A source of random choices; a seed gives the same ones again.
pub struct Draw(u64);

/// An expression of a script, and the shape of its value.
#[derive(Clone)]
pub struct Shaped {
    pub text: String,
    pub dims: Vec<usize>,
}

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d)
    }

    /// A number below `n` (Steele et al. 2014, SplitMix64).
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    /// From `from` to `to`, both included.
    pub fn within(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    pub fn often(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// A shape of some rank with at most 24 elements.
    pub fn dims(&mut self, least_rank: usize, most_rank: usize) -> Vec<usize> {
        let rank = self.within(least_rank, most_rank);
        let mut dims: Vec<usize> = (0..rank).map(|_| self.within(1, 4)).collect();
        while dims.iter().product::<usize>() > 24 {
            let at = self.below(rank);
            dims[at] = 1.max(dims[at] - 1);
        }
        dims
    }

    /// A shape that broadcasts with `dims` and to it.
    pub fn narrower(&mut self, dims: &[usize]) -> Vec<usize> {
        let cut = self.below(dims.len() + 1);
        let kept = dims[cut..].iter();
        kept.map(|size| if self.below(3) == 0 { 1 } else { *size }).collect()
    }

    /// A dim, counted from either end.
    pub fn dim(&mut self, rank: usize) -> (usize, i64) {
        let dim = self.below(rank);
        (dim, dim as i64 - if self.often() { rank as i64 } else { 0 })
    }

    /// Some of the dims, at least one, in any order.
    pub fn some_dims(&mut self, rank: usize) -> Vec<usize> {
        let mut dims: Vec<usize> = (0..rank).collect();
        self.shuffle(&mut dims);
        dims.truncate(self.within(1, rank));
        dims
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.below(i + 1));
        }
    }

    /// `count` places below `size`, which may repeat.
    pub fn places(&mut self, count: usize, size: usize) -> Vec<usize> {
        (0..count).map(|_| self.below(size)).collect()
    }

    /// A view of a tensor, or of a view of one.
    pub fn view(&mut self, name: &str, dims: &[usize]) -> Shaped {
        let mut x = Shaped { text: name.to_owned(), dims: dims.to_vec() };
        for _ in 0..self.below(3) {
            x = self.one_view(x);
        }
        x
    }

    fn one_view(&mut self, x: Shaped) -> Shaped {
        let Shaped { text, mut dims } = x;
        let rank = dims.len();
        if rank == 0 {
            return Shaped { text: format!("{text}.unsqueeze(0)"), dims: vec![1] };
        }
        let (at, dim) = self.dim(rank);
        let text = match self.below(7) {
            0 => {
                let (other, by) = self.dim(rank);
                dims.swap(at, other);
                format!("{text}.transpose({dim}, {by})")
            }
            1 => {
                let mut order: Vec<usize> = (0..rank).collect();
                self.shuffle(&mut order);
                dims = order.iter().map(|&from| dims[from]).collect();
                format!("{text}.permute({order:?})")
            }
            2 => format!("{text}.flip({dim})"),
            3 => {
                let from = self.below(dims[at]);
                dims[at] = self.within(1, dims[at] - from);
                format!("{text}.narrow({dim}, {from}, {})", dims[at])
            }
            4 => {
                let from = self.below(dims[0]);
                let to = self.within(from + 1, dims[0]);
                dims[0] = to - from;
                format!("{text}[{from}..{to}]")
            }
            5 => {
                dims.insert(at, 1);
                format!("{text}.unsqueeze({at})")
            }
            _ if dims.iter().product::<usize>() <= 12 => {
                dims.insert(0, 2);
                format!("{text}.expand({dims:?})")
            }
            _ => text,
        };
        Shaped { text, dims }
    }
}
