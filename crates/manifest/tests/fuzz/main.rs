//! The fuzz bodies, run over a corpus, over changed parts of it, and over random bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;

use proptest::prelude::*;

const CORPUS: [&[u8]; 3] = [
    include_bytes!("corpus/stream.yaml"),
    include_bytes!("corpus/lists.yaml"),
    include_bytes!("corpus/stream.json"),
];

/// Pieces that have a meaning somewhere.
const PIECES: [&str; 32] = [
    "\n---\n",
    "\n...\n",
    "---",
    "&a ",
    "*a",
    "<<: *a",
    "<<: ",
    ": ",
    "- ",
    "? ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "}{",
    "{\"a\": 1}{\"b\": [2]}\n",
    ",",
    "!!binary ",
    "!!set ",
    "%TAG ! x\n",
    "#",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{85}",
    "\0",
    "kind: List\n",
    "metadata: {name: x}\n",
];

#[test]
fn the_corpus_itself() {
    for bytes in CORPUS {
        bodies::split(bytes);
        bodies::differ(bytes);
        let parsed = sortie_manifest::parse("f", bytes, &sortie_manifest::Limits::default());
        assert!(parsed.unwrap().len() >= 3);
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, u8),
    Insert(usize, usize),
    Cut(usize, usize),
    Copy(usize, usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (
            any::<usize>(),
            prop_oneof![9 => 0x20..0x7f_u8, 1 => any::<u8>()]
        )
            .prop_map(|(at, byte)| Mutation::Flip(at, byte)),
        (any::<usize>(), 0..PIECES.len()).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<usize>(), 1..60_usize).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (any::<usize>(), any::<usize>(), 1..200_usize)
            .prop_map(|(from, to, length)| Mutation::Copy(from, to, length)),
    ]
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let start = (
        0..CORPUS.len(),
        prop::option::weighted(0.3, 0..CORPUS.len()),
    );
    (start, prop::collection::vec(mutation(), 1..4)).prop_map(|((first, second), mutations)| {
        let mut bytes = CORPUS[first].to_vec();
        if let Some(second) = second {
            bytes.extend_from_slice(b"\n---\n");
            bytes.extend_from_slice(CORPUS[second]);
        }
        for mutation in mutations {
            let length = bytes.len().max(1);
            match mutation {
                Mutation::Flip(at, byte) => {
                    if let Some(old) = bytes.get_mut(at % length) {
                        *old = byte;
                    }
                }
                Mutation::Insert(at, piece) => {
                    let at = at % length;
                    bytes.splice(at..at, PIECES[piece].bytes());
                }
                Mutation::Cut(at, count) => {
                    let at = at % length;
                    bytes.drain(at..(at + count).min(bytes.len()));
                }
                Mutation::Copy(from, to, count) => {
                    let (from, to) = (from % length, to % length);
                    let copy = bytes[from..(from + count).min(bytes.len())].to_vec();
                    bytes.splice(to..to, copy);
                }
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn changed_corpus(bytes in mutated()) {
        bodies::split(&bytes);
        bodies::differ(&bytes);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        bodies::split(&bytes);
        bodies::differ(&bytes);
    }

    #[test]
    fn random_pieces(pieces in prop::collection::vec((0..PIECES.len(), "[a-c0 \n]{0,4}"), 0..40)) {
        let text: String = pieces.iter().map(|(at, text)| format!("{}{text}", PIECES[*at])).collect();
        bodies::split(text.as_bytes());
        bodies::differ(text.as_bytes());
    }
}
