// Never read: btc refuses to import it.
