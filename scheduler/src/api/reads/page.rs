//! Pages of long lists: how many items, and where the next begins.

use super::ReadError;

/// Characters of a bad token that are said back.
const SAID_BACK: usize = 80;

/// Items of a page: 1000 unless asked otherwise, 10,000 at most.
pub fn size(asked: u32) -> usize {
    match asked {
        0 => 1000,
        asked => asked.min(10_000) as usize,
    }
}

/// A page token that no list has given out; only its beginning is said back.
pub fn bad_token(token: &str) -> ReadError {
    ReadError::PageToken(token.chars().take(SAID_BACK).collect())
}

/// Most items looked at for one page: a filter that matches little gives short pages rather than long waits.
pub const MAX_LOOKED_AT: usize = 50_000;

/// Takes a page of the items `keep` wants. The token is the last item looked at when there may be more.
pub fn take<I: Copy, T>(
    items: impl Iterator<Item = I>,
    asked: u32,
    mut keep: impl FnMut(I) -> Option<T>,
    token: impl Fn(I) -> String,
) -> (Vec<T>, String) {
    let (size, mut page, mut looked_at) = (size(asked), Vec::new(), 0);
    let mut items = items.peekable();
    while let Some(item) = items.next() {
        page.extend(keep(item));
        looked_at += 1;
        if (page.len() >= size || looked_at >= MAX_LOOKED_AT) && items.peek().is_some() {
            return (page, token(item));
        }
    }
    (page, String::new())
}
