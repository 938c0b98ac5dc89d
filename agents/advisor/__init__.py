"""From a policy to production: decisions under guards, in a mode, with approvals, on a record that shows changes."""
