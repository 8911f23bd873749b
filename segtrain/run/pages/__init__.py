"""The pages that `segtrain report` writes, from what lies in run folders."""
