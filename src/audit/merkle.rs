//! The Merkle tree of the log (RFC 9162 §2.1): hashes of leaves and nodes, the right edge of a growing tree,
//! and the proof that a record is in it.
//!
//! Pure: where hashes are kept is told by [`Nodes`].

use aws_lc_rs::digest::{Context, SHA256, digest};

/// SHA-256 of a leaf, of a node, or of a whole tree.
pub type Hash = [u8; 32];

/// How many levels of the tree are one level of tiles (C2SP `tlog-tiles`).
pub const TILE_HEIGHT: u32 = 8;

/// The hash of a record, without its line end.
pub fn leaf(record: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(record);
    taken(context.finish().as_ref())
}

/// The hash of a node over the hashes of its two children.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(left);
    context.update(right);
    taken(context.finish().as_ref())
}

/// The hash of a tree without leaves.
fn empty() -> Hash {
    taken(digest(&SHA256, &[]).as_ref())
}

fn taken(digest: &[u8]) -> Hash {
    digest.first_chunk().copied().unwrap_or_default()
}

/// Where the hashes of complete subtrees are: that of the 2^`level` leaves from `index` · 2^`level` on.
pub trait Nodes {
    /// Why one cannot be had.
    type Error;

    /// The hash.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The right edge of a tree: all that must be known of it to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The roots of the complete subtrees that the tree is made of, the largest first: one for each bit of
    /// its size.
    roots: Vec<Hash>,
}

impl Edge {
    /// The edge of the tree of `size` leaves whose nodes are in `nodes`.
    pub fn of<N: Nodes>(size: u64, nodes: &N) -> Result<Self, N::Error> {
        let mut roots = Vec::new();
        let mut before = 0_u64;
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            roots.push(nodes.node(level, before >> level)?);
            before += 1 << level;
        }
        Ok(Self { size, roots })
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Whatever becomes complete by it is handed to `keep`, with its level.
    pub fn push(&mut self, leaf: Hash, mut keep: impl FnMut(u32, &Hash)) {
        keep(0, &leaf);
        let mut hash = leaf;
        for level in 1..=self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            hash = node(&left, &hash);
            keep(level, &hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The hash of the whole tree.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return empty() };
        roots.fold(*last, |right, left| node(left, &right))
    }
}

/// The hash of the leaves from `low` to below `high`, at least one.
fn range<N: Nodes>(nodes: &N, low: u64, high: u64) -> Result<Hash, N::Error> {
    let count = high - low;
    if count.is_power_of_two() && low.is_multiple_of(count) {
        let level = count.trailing_zeros();
        return nodes.node(level, low >> level);
    }
    let middle = low + split(count);
    Ok(node(&range(nodes, low, middle)?, &range(nodes, middle, high)?))
}

/// The largest power of two below `count`, which is at least 2.
const fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The proof that the leaf `index` is in the tree of `size` leaves (§2.1.3.1): the hashes of its siblings, the
/// nearest first. None where there is no such leaf.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut low, mut high, mut proof) = (0, size, Vec::new());
    while high - low > 1 && index < size {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range(nodes, middle, high)?);
            high = middle;
        } else {
            proof.push(range(nodes, low, middle)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `proof` shows that `leaf` is the leaf `index` of the tree of `size` leaves with this `root`
/// (§2.1.3.2).
pub fn is_included(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests;
