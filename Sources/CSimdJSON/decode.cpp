int tm_placeholder;
