# Comments of the headers as doxygen wants them: that of the file first, those behind a member, those in front of something.
2s:^/\*:/** @file\n *:
s:^( *)/\* :\1/** :
s:^( *)/\*$:\1/**:
s:([];,{)0-9A-Z_] *)/\* :\1/**< :
