//! What strangers' files, servers and scripts have tried, and what must come of it: one file a kind of attack, a table
//! where that serves (the input, what must be said, what must not exist afterwards).
