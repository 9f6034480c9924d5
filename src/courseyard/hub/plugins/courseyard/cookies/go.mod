module courseyard/cookies

go 1.22
