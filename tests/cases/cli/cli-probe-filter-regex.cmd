flags: --probe-filter 'interval:ms:(200|300)'
