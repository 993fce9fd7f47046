20\d\d-\d\d-\d\d
