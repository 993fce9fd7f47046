args: 300
