"""Pages that name a narrower encoding than the one they are in, as browsers read them."""

COMMON = "星云咖啡机的保修期为两年请联系客服中心办理退货手续"
PAGES = {
    "GBK as gb2312": ("gb2312", COMMON * 50 + "朱镕基、陶喆、張堃", "gbk"),
    "GB 18030 as gb2312": ("gb2312", COMMON + "𠮷䶮", "gb18030"),
    "GB 18030 as x-gbk": ("x-gbk", COMMON + "𠮷䶮", "gb18030"),
    "Windows-1252 as Latin-1": ("iso-8859-1", "He said “yes” – 5 € in the café", "cp1252"),
    "Windows-1252 as ASCII": ("us-ascii", "He said “yes” – 5 € in the café", "cp1252"),
    "Windows-1254 as Latin-5": ("iso-8859-9", "Türkçe “evet” – 5 € şirket", "cp1254"),
    "Windows-31J as Shift JIS": ("x-sjis", "①番目～保証期間は二年です。髙﨑", "cp932"),
    "NEC characters in EUC-JP": ("euc-jp", "①番目の保証期間は二年です", "euc_jis_2004"),
    "Windows-949 as EUC-KR": ("ks_c_5601-1987", "보증 기간은 이 년입니다. 똠방각하", "cp949"),
    "HKSCS as Big5": ("big5", "保固期為兩年，請聯絡客服，嘅啲", "big5hkscs"),
    "ISO-2022-JP": ("iso-2022-jp", "保証期間は二年です", "iso2022_jp"),
    "Windows-874 as TIS-620": ("tis-620", "การรับประกันสองปี", "cp874"),
}


def page(label: str, text: str, codec: str) -> bytes:
    """Return a page in an encoding, labelled with another."""
    return f'<html><head><meta charset="{label}"></head><body><p>'.encode() + text.encode(codec) + b"</p></body></html>"
