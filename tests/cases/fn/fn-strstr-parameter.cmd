args: brown aabaabaaab aaab
