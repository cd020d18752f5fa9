"""What recurrent cells can remember: problems whose answer lies far back in the sequence."""
