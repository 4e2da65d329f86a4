module nfslat/go-storm

go 1.19
