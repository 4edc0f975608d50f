use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::model::hex::hex;

/// Every complete node of a tree, as [`Edge::push`] hands them out.
#[derive(Default)]
struct Kept(BTreeMap<(u32, u64), Hash>, BTreeMap<u32, u64>);

impl Nodes for Kept {
    type Error = Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[&(level, index)])
    }
}

impl Kept {
    fn keep(&mut self, level: u32, hash: &Hash) {
        let next = self.1.entry(level).or_default();
        self.0.insert((level, *next), *hash);
        *next += 1;
    }
}

/// The leaves of the reference implementation's tests of RFC 6962, and the roots of their trees.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// A place in a list.
fn at(place: u64) -> usize {
    usize::try_from(place).unwrap()
}

fn tree(leaves: usize) -> (Edge, Kept, Vec<Hash>) {
    let (mut edge, mut kept, mut roots) = (Edge::default(), Kept::default(), vec![empty()]);
    for n in 0..leaves {
        edge.push(leaf(&n.to_be_bytes()), |level, hash| kept.keep(level, hash));
        roots.push(edge.root());
    }
    (edge, kept, roots)
}

#[test]
fn evi_014_roots_are_those_of_the_reference() {
    assert_eq!(
        hex(&Edge::default().root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let mut edge = Edge::default();
    for (record, root) in LEAVES.iter().zip(ROOTS) {
        edge.push(leaf(record), |_, _| {});
        assert_eq!(hex(&edge.root()), root);
    }
}

/// The tree as RFC 9162 §2.1.1 defines it.
fn defined(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty(),
        [one] => *one,
        several => {
            let k = several.len().next_power_of_two() / 2;
            node(&defined(&several[..k]), &defined(&several[k..]))
        }
    }
}

#[test]
fn evi_014_every_small_tree_is_the_one_that_is_defined_and_every_proof_in_it_holds() {
    const MOST: u64 = 70;
    let (edge, kept, roots) = tree(70);
    let leaves: Vec<Hash> = (0..70_usize).map(|n| leaf(&n.to_be_bytes())).collect();
    for size in 0..=MOST {
        let own = &roots[at(size)];
        assert_eq!(*own, defined(&leaves[..at(size)]), "{size}");
        assert_eq!(Edge::of(size, &kept).unwrap().root(), *own);
        for index in 0..size {
            let proof = inclusion(&kept, index, size).unwrap();
            assert!(is_included(leaves[at(index)], index, size, &proof, own), "{index} {size}");
            // Another record, or the same in another place.
            let other = leaf(b"another");
            assert!(!is_included(other, index, size, &proof, own), "{index} {size}");
            for other in (0..=size).filter(|other| *other != index) {
                let same = leaves[at(index)];
                assert!(!is_included(same, other, size, &proof, own), "{index} {other} {size}");
            }
        }
    }
    assert_eq!(Edge::of(MOST, &kept), Ok(edge));
}

proptest! {
    /// An attacker changes one hash of a proof, leaves one out or adds one.
    #[test]
    fn evi_014_no_changed_proof_holds(
        size in 2_u64..600, index in 0_u64..600, place in 0_usize..10, how in 0..3,
    ) {
        let (_, kept, roots) = tree(at(size));
        let index = index % size;
        let changed = |mut proof: Vec<Hash>| {
            let place = place % (proof.len() + usize::from(how == 2)).max(1);
            match how {
                0 => proof[place][7] ^= 1,
                1 => drop(proof.remove(place)),
                _ => proof.insert(place, [7; 32]),
            }
            proof
        };
        let own = leaf(&at(index).to_be_bytes());
        let proof = inclusion(&kept, index, size).unwrap();
        prop_assert!(is_included(own, index, size, &proof, &roots[at(size)]));
        prop_assert!(!is_included(own, index, size, &changed(proof), &roots[at(size)]));
    }
}
